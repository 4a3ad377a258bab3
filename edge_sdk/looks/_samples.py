"""Models of one convolution, to see whether an engine runs at all: a device has no converters."""

from __future__ import annotations

import base64
import struct
import zlib
from itertools import repeat


def tflite_sample() -> bytes:
    """Return the same net as a TFLite file, as our converter writes it."""
    return zlib.decompress(base64.b85decode(_TFLITE))


def onnx_sample() -> bytes:
    """Return an ONNX model of one convolution, (1, 3, 8, 8) to (1, 4, 6, 6) of float32.

    Written here, as a device has no onnx; the numbers of the fields are those of onnx.proto.
    """
    weights = struct.pack("<108f", *repeat(0.125, 108))
    initializer = b"".join(
        [*(_field(1, size) for size in (4, 3, 3, 3)), _field(2, 1), _field(8, b"w"),
         _field(9, weights)]
    )  # fmt: skip
    node = _field(1, b"x") + _field(1, b"w") + _field(2, b"y") + _field(4, b"Conv")
    graph = b"".join(
        [_field(1, node), _field(2, b"sample"), _field(5, initializer),
         _field(11, _value(b"x", (1, 3, 8, 8))), _field(12, _value(b"y", (1, 4, 6, 6)))]
    )  # fmt: skip
    opset = _field(1, b"") + _field(2, 13)
    return _field(1, 8) + _field(7, graph) + _field(8, opset)


def _value(name: bytes, shape: tuple[int, ...]) -> bytes:
    sizes = b"".join(_field(1, _field(1, size)) for size in shape)
    tensor = _field(1, 1) + _field(2, sizes)  # float32
    return _field(1, name) + _field(2, _field(1, tensor))


def _field(number: int, value: int | bytes) -> bytes:
    """Return a field of a protobuf message: a number, or bytes with their length before them."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


_TFLITE = (
    "c-rk$O=}ZD7=AY!lUPH#V31OB7=lm_Y238dgMu2gg3yA890V(2%TCgz`w@1NnotWK{4pMT@YsU~4<3sLPab;q;K_"
    "raHomj-&Srx80|W=2WWJvFYxaF=0ML23wO$1VHCTcwSWw2j66A3XxCihGaf&$31DqggMF11m2Eqa{7E+erEa0k4y"
    "c>u`M8e|(FYI?+-g8F&Fy)~ccs-p?FVI}<P3T{&KYyQ2)&3ZfL)dh7rtubK{Es@D-R;dz`$4<Y#yDgwCAyPO^8w&"
    ")pLY{?UqoC$e8ME&AkNUq31V!>yS*RMw`<5ewr#tm>LPDIYOzYWiW)3Ytk)1CwpP<_+T<s3f`QM)-7+!rRAb2(ys"
    "E|*EODnWSDVV*+f>N!7Ge+aM62B?)<-Pm-B~Ske*iD<8d)Y~DB^EPE_1SO`P7z(p%*&=PXHd{eBh0_pD>#ZBeu4&"
    "!Mu<S_c)7Um&a_^AMpn3$DD@^7IXJD3!^x2d@pf^UKBDf!TX8l@{|)qF877Qk3VI-R}qJG^-4|OnM9*uQoqIOhdc"
    "Gj4o;rh4Yt-`>kZa=c2qy2_^+Hxz6F0CH|hLXCVb~V{wZi<zAw~!3vDp7?^=$l*aNEPSE=V!p8<A{QaaU3O6%St-"
    "XY$TkHGOl<zuMvmx+Ig_)NMrME^FjScEPvX1Zw1Vl)iW2^F`QDN7~wq1%=|VcDX&>P=-Yr`18(HL{8U+{48;%IO8"
    "^vfzI?mpY;A!bH=Y0zs@lXqsYD92XJyqwwJRuID70{$NL@)q%9WY7}u-=3b^)mCxszPMaEp9q~?=|6<3Q<(adHKj"
    "3iyS}ZDVm7^LeN2QC(pOtC!@BZ{UjWrvlW+zAAf;jt%zNK9-%jtVc&%(xv++X<xs@SiM"
)
