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

# Requests carry few distinct combinations, so rendering is a dictionary look-up after the first time.
_rendered: dict[int, str] = {0: "-"}


def text(flags: int) -> str:
    """Render flag bits, for example `URX|UF` as `UF,URX`; `-` when no bit is set."""
    found = _rendered.get(flags)
    if found is None:
        found = ",".join(name for i, name in enumerate(_NAMES) if flags >> i & 1)
        _rendered[flags] = found
    return found
