/* A64, by the top-level encoding tables of the Arm Architecture Reference Manual (DDI 0487, C4.1). */
#include "instructions.h"

/* Registers of LD1..LD4/ST1..ST4 (multiple structures), by bits 15:12. */
static const uint8_t a64_structures[16] = {[0] = 4, [2] = 4, [4] = 3, [6] = 3, [7] = 1, [8] = 2, [10] = 2};

static struct what a64_vector_structure(uint32_t w) {
    int loads = bits(w, 22, 22);
    if (!bits(w, 24, 24)) /* multiple structures */
        return moved(loads, 1, a64_structures[bits(w, 15, 12)] * (bits(w, 30, 30) ? 16 : 8));
    unsigned registers = (bits(w, 13, 13) << 1 | bits(w, 21, 21)) + 1;
    unsigned scale = bits(w, 15, 14), size = bits(w, 11, 10);
    if (scale == 3) scale = size;               /* load and replicate */
    else if (scale == 2 && size == 1) scale = 3; /* 64-bit lanes share the code of 32-bit ones */
    return moved(loads, 1, registers << scale);
}

static struct what a64_exclusive(uint32_t w) {
    unsigned bytes = 1u << bits(w, 31, 30);
    if (bits(w, 21, 21) && !bits(w, 23, 23)) bytes = bits(w, 31, 31) ? bytes * 2 : 8u << bits(w, 30, 30);
    if (bits(w, 21, 21) && (bits(w, 23, 23) || !bits(w, 31, 31)))
        return (struct what){LOAD, bytes, bytes}; /* CAS, CASP */
    return moved(bits(w, 22, 22), 0, bytes);
}

static struct what a64_register(uint32_t w) { /* one register: every addressing mode; atomics */
    int vector = bits(w, 26, 26);
    unsigned size = bits(w, 31, 30), opc = bits(w, 23, 22);
    if (vector) return moved(opc & 1, 1, opc & 2 ? 16 : 1u << size);
    if (!bits(w, 24, 24) && bits(w, 21, 21)) {
        if (bits(w, 11, 10) == 0) return (struct what){LOAD, 1u << size, 1u << size}; /* LDADD.. */
        if (bits(w, 11, 10) != 2) return moved(1, 0, 8);                              /* LDRAA */
    }
    if (size == 3 && opc == 2) return plain(LOAD); /* PRFM: a slot of the load unit, no bytes */
    return moved(opc != 0, 0, 1u << size);
}

static struct what a64_load_store(uint32_t w) {
    int vector = bits(w, 26, 26);
    unsigned size = bits(w, 31, 30);
    switch (bits(w, 29, 28)) {
    case 0: return vector ? a64_vector_structure(w) : a64_exclusive(w);
    case 1:
        if (!bits(w, 24, 24)) { /* literal */
            if (!vector && size == 3) return plain(LOAD);
            return moved(1, vector, vector ? 4u << size : size == 1 ? 8 : 4);
        }
        if (bits(w, 21, 21)) return plain(OTHER); /* memory tags, memory copy */
        return moved(bits(w, 23, 22) != 0, 0, 1u << size);
    case 2: /* pairs */
        return moved(bits(w, 22, 22), vector, vector ? 8u << size : bits(w, 31, 31) ? 16 : 8);
    default: return a64_register(w);
    }
}

static enum kind a64_three_same(uint32_t w) {
    unsigned op = bits(w, 15, 11), u = bits(w, 29, 29);
    if (op == 0x19 || (op == 0x1d && !u)) return VECTOR_FMA; /* FMLA, FMLS, FMLAL */
    if (op >= 0x18) return VECTOR_FLOAT;
    if (op == 0x12 || op == 0x13 || op == 0x16) return VECTOR_MULTIPLY; /* MLA, MUL, SQDMULH */
    if (op == 0x03 && !u && bits(w, 23, 22) == 2 && bits(w, 20, 16) == bits(w, 9, 5))
        return VECTOR_MOVE; /* MOV is ORR of a register with itself */
    return VECTOR_INT;
}

static enum kind a64_three_extra(uint32_t w) {
    switch (bits(w, 14, 11)) {
    case 0: case 1: return VECTOR_MULTIPLY; /* SQRDMLAH */
    case 2: case 3: return VECTOR_DOT;
    case 4: case 5: case 13: return VECTOR_MATMUL;
    case 12: case 14: return VECTOR_FLOAT; /* FCADD */
    case 15: return bits(w, 23, 22) == 1 ? VECTOR_DOT : VECTOR_FMA; /* BFDOT, BFMLAL */
    default: return VECTOR_FMA; /* FCMLA */
    }
}

static enum kind a64_indexed(uint32_t w) {
    unsigned op = bits(w, 15, 12), u = bits(w, 29, 29), size = bits(w, 23, 22);
    if (op == 1 || op == 3 || op == 5 || op == 7) { /* FMLA, FMLS; SQDMLAL, SQDMLSL; FCMLA */
        if (!u && (op == 3 || op == 7)) return VECTOR_MULTIPLY;
        return !u && size == 0 ? VECTOR_HALF : VECTOR_FMA;
    }
    if (op == 9) return size == 0 ? VECTOR_HALF : VECTOR_FLOAT; /* FMUL, FMULX */
    if (size == 2 && ((!u && (op == 0 || op == 4)) || (u && (op == 8 || op == 12))))
        return VECTOR_FMA; /* FMLAL */
    if (op == 14) return VECTOR_DOT;
    if (op == 15 && !u) return size == 3 ? VECTOR_FMA : VECTOR_DOT; /* BFMLAL; SUDOT, BFDOT */
    return VECTOR_MULTIPLY;
}

static enum kind a64_two_misc(uint32_t w) {
    unsigned op = bits(w, 16, 12);
    if ((op >= 12 && op <= 15) || op >= 22) return VECTOR_FLOAT;
    return op < 2 || (op == 18 && !bits(w, 29, 29)) ? VECTOR_MOVE : VECTOR_INT; /* REV; XTN */
}

static enum kind a64_vector(uint32_t w) {
    if (is(w, 0xff3e0c00, 0x4e280800)) return CRYPTO; /* AES */
    if (is(w, 0xff208c00, 0x5e000000) || is(w, 0xff3e0c00, 0x5e280800)) return CRYPTO; /* SHA */
    if (is(w, 0xff000000, 0xce000000)) return CRYPTO; /* SHA-3, SHA-512, SM3, SM4 */
    w &= ~0x10000000u; /* the scalar forms of SIMD operations mirror the vector ones */
    if (is(w, 0x9fe08400, 0x0e000400)) return VECTOR_MOVE; /* DUP, INS, UMOV */
    if (is(w, 0x9f208400, 0x0e000000)) return VECTOR_MOVE; /* TBL, ZIP, UZP, TRN, EXT */
    if (is(w, 0x9f60c400, 0x0e400400) || is(w, 0x9f7e0c00, 0x0e780800)) return VECTOR_HALF;
    if (is(w, 0x9f208400, 0x0e008400)) return a64_three_extra(w);
    if (is(w, 0x9f3e0c00, 0x0e200800)) return a64_two_misc(w);
    if (is(w, 0x9f3e0c00, 0x0e300800)) { /* across lanes, pairwise */
        unsigned op = bits(w, 16, 12);
        return op == 12 || op == 13 || op == 15 ? VECTOR_FLOAT : VECTOR_INT;
    }
    if (is(w, 0x9f200c00, 0x0e200000)) return bits(w, 15, 12) >= 8 ? VECTOR_MULTIPLY : VECTOR_INT;
    if (is(w, 0x9f200400, 0x0e200400)) return a64_three_same(w);
    if (is(w, 0x9f000400, 0x0f000000)) return a64_indexed(w);
    if (is(w, 0x9f800400, 0x0f000400)) {
        if (bits(w, 22, 19) == 0) return VECTOR_MOVE; /* MOVI, FMOV */
        unsigned op = bits(w, 15, 11);
        return op == 0x1c || op == 0x1f ? VECTOR_FLOAT : VECTOR_INT; /* SCVTF, FCVTZS; shifts */
    }
    return OTHER;
}

static struct what aarch64(const uint8_t *code) {
    uint32_t w = code[0] | code[1] << 8 | code[2] << 16 | (uint32_t)code[3] << 24;
    switch (bits(w, 28, 25)) {
    case 8: case 9: case 5: case 13: return plain(SCALAR);
    case 10: case 11: /* exceptions and system instructions share the space of branches */
        if (is(w, 0xfffff01f, 0xd503201f) || is(w, 0xfff00000, 0xd5300000)) return plain(SCALAR);
        return plain(is(w, 0xfe000000, 0xd4000000) ? OTHER : BRANCH); /* but for hints and MRS */
    case 4: case 6: case 12: case 14: return a64_load_store(w);
    case 7: case 15: return plain(is(w, 0x5e000000, 0x1e000000) ? FLOAT : a64_vector(w));
    default: return plain(OTHER); /* SVE, SME, undefined */
    }
}
