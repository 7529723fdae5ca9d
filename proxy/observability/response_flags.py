"""Envoy's response flags: why a request ended the way it did, as bits of one integer.

`StreamInfo.response_flags` holds the OR of these bits; `text` renders it as `%RESPONSE_FLAGS%` and as the
`response_flags` metric label: short names in Envoy's enum order, joined by commas, `-` for none.
Source: envoy/stream_info/stream_info.h and source/common/stream_info/utility.h of Envoy 1.40.
"""

from __future__ import annotations

# The order is Envoy's enum order and decides the order of the rendered text.
_NAMES = (
    "LH", "UH", "UT", "LR", "UR", "UF", "UC", "UO", "NR", "DI", "FI", "RL", "UAEX", "RLSE", "DC", "URX",
    "SI", "IH", "DPE", "UMSDR", "RFCF", "NFCF", "DT", "UPE", "NC", "OM", "DF", "DO", "DR", "UDO",
)  # fmt: skip

(
    LH, UH, UT, LR, UR, UF, UC, UO, NR, DI, FI, RL, UAEX, RLSE, DC, URX,
    SI, IH, DPE, UMSDR, RFCF, NFCF, DT, UPE, NC, OM, DF, DO, DR, UDO,
) = (1 << i for i in range(len(_NAMES)))  # fmt: skip

# `%RESPONSE_FLAGS_LONG%`, in the same order.
_LONG_NAMES = (
    "FailedLocalHealthCheck", "NoHealthyUpstream", "UpstreamRequestTimeout", "LocalReset", "UpstreamRemoteReset",
    "UpstreamConnectionFailure", "UpstreamConnectionTermination", "UpstreamOverflow", "NoRouteFound",
    "DelayInjected", "FaultInjected", "RateLimited", "UnauthorizedExternalService", "RateLimitServiceError",
    "DownstreamConnectionTermination", "UpstreamRetryLimitExceeded", "StreamIdleTimeout",
    "InvalidEnvoyRequestHeaders", "DownstreamProtocolError", "UpstreamMaxStreamDurationReached",
    "ResponseFromCacheFilter", "NoFilterConfigFound", "DurationTimeout", "UpstreamProtocolError",
    "NoClusterFound", "OverloadManagerTerminated", "DnsResolutionFailed", "DropOverload",
    "DownstreamRemoteReset", "UnconditionalDropOverload",
)  # fmt: skip

# Requests carry few distinct combinations, so rendering is a dictionary look-up after the first time.
_rendered: dict[int, str] = {0: "-"}


def text(flags: int) -> str:
    """Render flag bits, for example `URX|UF` as `UF,URX`; `-` when no bit is set."""
    found = _rendered.get(flags)
    if found is None:
        found = ",".join(name for i, name in enumerate(_NAMES) if flags >> i & 1)
        _rendered[flags] = found
    return found


def long_text(flags: int) -> str:
    """Render flag bits by their long names; `-` when no bit is set."""
    return ",".join(name for i, name in enumerate(_LONG_NAMES) if flags >> i & 1) or "-"


def bits(names: str) -> int:
    """The bits of a comma-joined list of short names; an unknown name raises `ValueError`."""
    return sum(1 << _NAMES.index(name) for name in names.split(",") if name)
