"""Envoy's response flags: why a request ended the way it did, as bits of one integer.

`StreamInfo.response_flags` holds the OR of these bits; `text` renders it as `%RESPONSE_FLAGS%` and as the
`response_flags` metric label: short names in the order Envoy notes them, joined by commas, `-` for none.
Source: envoy/stream_info/stream_info.h and source/common/stream_info/utility.h of Envoy 1.40.
"""

from __future__ import annotations

# Envoy prints flags in the order they were set. That is the enum's order but for these: filters come before the router, a
# request that may not be retried (URX, UO) is noted before what ended its last attempt, and opaque TCP notes URX (here TCP_URX)
# after it.
_NAMES = (
    "DI", "FI", "RL", "UAEX", "RLSE", "URX", "UO", "LH", "UH", "UT", "LR", "UR", "UF", "UC", "NR", "DC",
    "SI", "IH", "DPE", "UMSDR", "RFCF", "NFCF", "DT", "UPE", "NC", "OM", "DF", "DO", "DR", "UDO", "URX",
)  # fmt: skip

(
    DI, FI, RL, UAEX, RLSE, URX, UO, LH, UH, UT, LR, UR, UF, UC, NR, DC,
    SI, IH, DPE, UMSDR, RFCF, NFCF, DT, UPE, NC, OM, DF, DO, DR, UDO, TCP_URX,
) = (1 << i for i in range(len(_NAMES)))  # fmt: skip

# `%RESPONSE_FLAGS_LONG%`, in the same order.
_LONG_NAMES = (
    "DelayInjected", "FaultInjected", "RateLimited", "UnauthorizedExternalService", "RateLimitServiceError",
    "UpstreamRetryLimitExceeded", "UpstreamOverflow",
    "FailedLocalHealthCheck", "NoHealthyUpstream", "UpstreamRequestTimeout", "LocalReset", "UpstreamRemoteReset",
    "UpstreamConnectionFailure", "UpstreamConnectionTermination", "NoRouteFound",
    "DownstreamConnectionTermination", "StreamIdleTimeout",
    "InvalidEnvoyRequestHeaders", "DownstreamProtocolError", "UpstreamMaxStreamDurationReached",
    "ResponseFromCacheFilter", "NoFilterConfigFound", "DurationTimeout", "UpstreamProtocolError",
    "NoClusterFound", "OverloadManagerTerminated", "DnsResolutionFailed", "DropOverload",
    "DownstreamRemoteReset", "UnconditionalDropOverload", "UpstreamRetryLimitExceeded",
)  # fmt: skip

# Requests carry few distinct combinations, so rendering is a dictionary look-up after the first time.
_rendered: dict[int, str] = {0: "-"}


def text(flags: int) -> str:
    """Render flag bits, for example `UF|URX` as `URX,UF`; `-` when no bit is set."""
    found = _rendered.get(flags)
    if found is None:
        found = ",".join(name for i, name in enumerate(_NAMES) if flags >> i & 1)
        _rendered[flags] = found
    return found


def long_text(flags: int) -> str:
    """Render flag bits by their long names; `-` when no bit is set."""
    return ",".join(name for i, name in enumerate(_LONG_NAMES) if flags >> i & 1) or "-"


def bits(names: str) -> int:
    """The bits that render as these comma-joined short names; an unknown name raises `ValueError`."""
    wanted = {name for name in names.split(",") if name}
    for name in wanted:
        if name not in _NAMES:
            raise ValueError(f"no response flag {name!r}")
    return sum(1 << i for i, name in enumerate(_NAMES) if name in wanted)
