"""The classes of instructions, by encodings whose meaning is known."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from device_profiles.errors import MissingError
from edge_sdk.emulation.plugin import compile_c, find_compiler

# Encodings as a manual writes them; class, bytes loaded and stored.
AARCH64 = {
    "8b020020": ("scalar", 0, 0),  # add x0, x1, x2
    "d2800000": ("scalar", 0, 0),  # mov x0, #0
    "d503201f": ("scalar", 0, 0),  # nop
    "d53bd040": ("scalar", 0, 0),  # mrs x0, tpidr_el0
    "d5033bbf": ("other", 0, 0),  # dmb ish
    "d4000001": ("other", 0, 0),  # svc #0
    "04a00020": ("other", 0, 0),  # SVE add z0.s, z1.s, z0.s
    "94000001": ("branch", 0, 0),  # bl
    "d65f03c0": ("branch", 0, 0),  # ret
    "b4000040": ("branch", 0, 0),  # cbz x0
    "f9400020": ("load", 8, 0),  # ldr x0, [x1]
    "39400020": ("load", 1, 0),  # ldrb w0, [x1]
    "79800020": ("load", 2, 0),  # ldrsh x0, [x1]
    "f8626820": ("load", 8, 0),  # ldr x0, [x1, x2]
    "a9400420": ("load", 16, 0),  # ldp x0, x1, [x1]
    "29400420": ("load", 8, 0),  # ldp w0, w1, [x1]
    "58000040": ("load", 8, 0),  # ldr x0, literal
    "f9800020": ("load", 0, 0),  # prfm pldl1keep, [x1]
    "c8dffc20": ("load", 8, 0),  # ldar x0, [x1]
    "88e07c41": ("load", 4, 4),  # cas w0, w1, [x2]
    "f8200041": ("load", 8, 8),  # ldadd x0, x1, [x2]
    "f9000020": ("store", 0, 8),  # str x0, [x1]
    "a9bf7bfd": ("store", 0, 16),  # stp x29, x30, [sp, #-16]!
    "3dc00020": ("vector_load", 16, 0),  # ldr q0, [x1]
    "bd400020": ("vector_load", 4, 0),  # ldr s0, [x1]
    "ad400420": ("vector_load", 32, 0),  # ldp q0, q1, [x1]
    "6d400420": ("vector_load", 16, 0),  # ldp d0, d1, [x1]
    "4cdf2020": ("vector_load", 64, 0),  # ld1 {v0.16b-v3.16b}, [x1], #64
    "4c407020": ("vector_load", 16, 0),  # ld1 {v0.16b}, [x1]
    "4d40c820": ("vector_load", 4, 0),  # ld1r {v0.4s}, [x1]
    "0d408020": ("vector_load", 4, 0),  # ld1 {v0.s}[0], [x1]
    "3d800020": ("vector_store", 0, 16),  # str q0, [x1]
    "4c008420": ("vector_store", 0, 32),  # st2 {v0.8h, v1.8h}, [x1]
    "1e222820": ("float", 0, 0),  # fadd s0, s1, s2
    "1f020c20": ("float", 0, 0),  # fmadd s0, s1, s2, s3
    "4e22cc20": ("vector_fma", 0, 0),  # fmla v0.4s, v1.4s, v2.4s
    "4f821020": ("vector_fma", 0, 0),  # fmla v0.4s, v1.4s, v2.s[0]
    "4e420c20": ("vector_half", 0, 0),  # fmla v0.8h, v1.8h, v2.8h
    "4f021020": ("vector_half", 0, 0),  # fmla v0.8h, v1.8h, v2.h[0]
    "4e22d420": ("vector_float", 0, 0),  # fadd v0.4s, v1.4s, v2.4s
    "6e22dc20": ("vector_float", 0, 0),  # fmul v0.4s, v1.4s, v2.4s
    "4e21d820": ("vector_float", 0, 0),  # scvtf v0.4s, v1.4s
    "4ea28420": ("vector_int", 0, 0),  # add v0.4s, v1.4s, v2.4s
    "4f0f0420": ("vector_int", 0, 0),  # sshr v0.16b, v1.16b, #1
    "0e614820": ("vector_int", 0, 0),  # sqxtn v0.4h, v1.4s
    "0e22c020": ("vector_multiply", 0, 0),  # smull v0.8h, v1.8b, v2.8b
    "4e628020": ("vector_multiply", 0, 0),  # smlal2 v0.4s, v1.8h, v2.8h
    "6ea2b420": ("vector_multiply", 0, 0),  # sqrdmulh v0.4s, v1.4s, v2.4s
    "0f422020": ("vector_multiply", 0, 0),  # smlal v0.4s, v1.4h, v2.h[0]
    "4e829420": ("vector_dot", 0, 0),  # sdot v0.4s, v1.16b, v2.16b
    "4f82e020": ("vector_dot", 0, 0),  # sdot v0.4s, v1.16b, v2.4b[0]
    "6f84e010": ("vector_dot", 0, 0),  # udot v16.4s, v0.16b, v4.4b[0]
    "4e82a420": ("vector_matmul", 0, 0),  # smmla v0.4s, v1.16b, v2.16b
    "4ea21c20": ("vector_int", 0, 0),  # orr v0.16b, v1.16b, v2.16b
    "4ea11c20": ("vector_move", 0, 0),  # mov v0.16b, v1.16b
    "4e040c20": ("vector_move", 0, 0),  # dup v0.4s, w1
    "4f000400": ("vector_move", 0, 0),  # movi v0.4s, #0
    "4e823820": ("vector_move", 0, 0),  # zip1 v0.4s, v1.4s, v2.4s
    "6e020820": ("vector_move", 0, 0),  # ext v0.16b, v1.16b, v2.16b, #1
    "4e284820": ("crypto", 0, 0),  # aese v0.16b, v1.16b
    "5e024020": ("crypto", 0, 0),  # sha256h q0, q1, v2.4s
}

# Of A32, one instruction a block.
ARM = {
    "e0810002": ("scalar", 0, 0),  # add r0, r1, r2
    "e0000291": ("scalar", 0, 0),  # mul r0, r1, r2
    "ea000000": ("branch", 0, 0),  # b
    "e12fff1e": ("branch", 0, 0),  # bx lr
    "e5910000": ("load", 4, 0),  # ldr r0, [r1]
    "e5d10000": ("load", 1, 0),  # ldrb r0, [r1]
    "e1d100b0": ("load", 2, 0),  # ldrh r0, [r1]
    "e1c100d0": ("load", 8, 0),  # ldrd r0, r1, [r1]
    "e8bd0030": ("load", 8, 0),  # pop {r4, r5}
    "e92d4070": ("store", 0, 16),  # push {r4, r5, r6, lr}
    "f421070f": ("vector_load", 8, 0),  # vld1.8 {d0}, [r1]
    "f4210a0f": ("vector_load", 16, 0),  # vld1.8 {d0, d1}, [r1]
    "f401028d": ("vector_store", 0, 32),  # vst1.32 {d0-d3}, [r1]!
    "ed910b00": ("vector_load", 8, 0),  # vldr d0, [r1]
    "ecb10b04": ("vector_load", 16, 0),  # vldmia r1!, {d0, d1}
    "ee310a02": ("float", 0, 0),  # vadd.f32 s0, s2, s4
    "f2020d54": ("vector_fma", 0, 0),  # vmla.f32 q0, q1, q2
    "f2020c54": ("vector_fma", 0, 0),  # vfma.f32 q0, q1, q2
    "f2020d44": ("vector_float", 0, 0),  # vadd.f32 q0, q1, q2
    "f2200844": ("vector_int", 0, 0),  # vadd.i32 q0, q0, q2
    "f2910a02": ("vector_multiply", 0, 0),  # vmlal.s16 q0, d1, d2 by lane or not
    "f2810c02": ("vector_multiply", 0, 0),  # vmull.s8 q0, d1, d2
    "fc220d44": ("vector_dot", 0, 0),  # vsdot.s8 q0, q1, q2
}
THUMB = {  # halfwords in the order of memory
    "4770": ("branch", 0, 0),  # bx lr
    "1888": ("scalar", 0, 0),  # adds r0, r1, r2
    "6808": ("load", 4, 0),  # ldr r0, [r1]
    "7808": ("load", 1, 0),  # ldrb r0, [r1]
    "b510": ("store", 0, 8),  # push {r4, lr}
    "bd10": ("load", 8, 0),  # pop {r4, pc}
    "f8d10004": ("load", 4, 0),  # ldr.w r0, [r1, #4]
    "e9d10100": ("load", 8, 0),  # ldrd r0, r1, [r1]
    "eb010002": ("scalar", 0, 0),  # add.w r0, r1, r2
    "f000f800": ("branch", 0, 0),  # bl
    "f921070f": ("vector_load", 8, 0),  # vld1.8 {d0}, [r1]
    "ef020d54": ("vector_fma", 0, 0),  # vmla.f32 q0, q1, q2
}
X86 = {  # bytes in the order of memory
    "4889d8": ("scalar", 0, 0),  # mov %rbx, %rax
    "488b03": ("load", 8, 0),  # mov (%rbx), %rax
    "8903": ("store", 0, 4),  # mov %eax, (%rbx)
    "480303": ("scalar", 8, 0),  # add (%rbx), %rax
    "480103": ("scalar", 8, 8),  # add %rax, (%rbx)
    "3b03": ("scalar", 4, 0),  # cmp (%rbx), %eax
    "0fb603": ("load", 1, 0),  # movzbl (%rbx), %eax
    "53": ("store", 0, 8),  # push %rbx
    "c3": ("branch", 8, 0),  # ret
    "7400": ("branch", 0, 0),  # je
    "0f05": ("other", 0, 0),  # syscall
    "f30f5803": ("float", 4, 0),  # addss (%rbx), %xmm0
    "c5fc1003": ("vector_load", 32, 0),  # vmovups (%rbx), %ymm0
    "c5fc1103": ("vector_store", 0, 32),  # vmovups %ymm0, (%rbx)
    "c4e27d1803": ("vector_load", 4, 0),  # vbroadcastss (%rbx), %ymm0
    "c4e275b8c2": ("vector_fma", 0, 0),  # vfmadd231ps %ymm2, %ymm1, %ymm0
    "c4e275b803": ("vector_fma", 32, 0),  # vfmadd231ps (%rbx), %ymm1, %ymm0
    "c4e271b9c2": ("float", 0, 0),  # vfmadd231ss %xmm2, %xmm1, %xmm0
    "c5f458c2": ("vector_float", 0, 0),  # vaddps %ymm2, %ymm1, %ymm0
    "c5f5fec2": ("vector_int", 0, 0),  # vpaddd %ymm2, %ymm1, %ymm0
    "c4e27504c2": ("vector_multiply", 0, 0),  # vpmaddubsw %ymm2, %ymm1, %ymm0
    "c5f5f5c2": ("vector_multiply", 0, 0),  # vpmaddwd %ymm2, %ymm1, %ymm0
    "c4e27550c2": ("vector_dot", 0, 0),  # vpdpbusd %ymm2, %ymm1, %ymm0 (AVX-VNNI)
    "c4e27520c2": ("vector_move", 0, 0),  # vpmovsxbw %xmm2, %ymm0
    "660f38dcc1": ("crypto", 0, 0),  # aesenc %xmm1, %xmm0
    "62f17c4858c1": ("other", 0, 0),  # AVX-512
}


@pytest.fixture(scope="module")
def classify(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The classifier as a program of this machine."""
    try:
        compiler = find_compiler()
    except MissingError as error:
        pytest.skip(str(error))
    program = tmp_path_factory.mktemp("classify") / "classify"
    compile_c(
        compiler, ["-O1", "-Wall", "-Wextra", "-Werror", "-D_DEFAULT_SOURCE", "-DTEST"], program
    )
    return program


def _found(program: Path, isa: str, blocks: list[str]) -> list[str]:
    given = "".join(f"{isa} {block}\n" for block in blocks)
    done = subprocess.run([program], input=given, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def _said(kind: str, loaded: int, stored: int) -> str:
    traffic = f"0 0 {loaded} {stored}" if kind.startswith("vector") else f"{loaded} {stored} 0 0"
    return f"{kind}*1 {traffic}"


def _turned(word: str) -> str:
    """The bytes of a word in the order of memory, little endian."""
    return bytes.fromhex(word)[::-1].hex()


def _thumb(words: str) -> str:
    return "".join(_turned(words[i : i + 4]) for i in range(0, len(words), 4))


@pytest.mark.parametrize(
    ("isa", "cases", "order"),
    [
        ("aarch64", AARCH64, _turned),
        ("arm", ARM, _turned),
        ("x86_64", X86, lambda code: code),
    ],
    ids=["aarch64", "arm", "x86_64"],
)
def test_classes(classify: Path, isa: str, cases: dict[str, tuple[str, int, int]], order) -> None:  # type: ignore[no-untyped-def]
    found = _found(classify, isa, [order(code) for code in cases])
    assert dict(zip(cases, found, strict=True)) == {c: _said(*w) for c, w in cases.items()}


def test_thumb_is_told_by_a_short_instruction(classify: Path) -> None:
    nop = _thumb("bf00")
    for code, (kind, loaded, stored) in THUMB.items():
        (found,) = _found(classify, "arm", [f"{_thumb(code)} {nop}"])
        counts = dict(part.split("*") for part in found.split() if "*" in part)
        assert kind in counts, code
        traffic = [int(number) for number in found.split() if "*" not in number]
        assert sum(traffic) == loaded + stored, code


def test_long_thumb_is_told_from_arm_by_its_prefixes(classify: Path) -> None:
    thumb = [_thumb("f8d10004"), _thumb("eb010002")]  # ldr.w, add.w
    arm = [_turned("e5910000"), _turned("e12fff1e")]  # ldr, bx lr
    assert _found(classify, "arm", [" ".join(thumb), " ".join(arm)]) == [
        "scalar*1 load*1 4 0 0 0",
        "branch*1 load*1 4 0 0 0",
    ]
