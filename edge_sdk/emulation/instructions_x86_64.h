/* x86-64 without AVX-512, by the opcode maps of the Intel SDM (volume 2, appendix A). */
#include "instructions.h"

struct x86 {
    unsigned map;       /* 0 one byte, 1 0F, 2 0F38, 3 0F3A */
    unsigned op, pp;    /* pp: 0 none, 1 66, 2 F3, 3 F2 */
    unsigned width;     /* bytes of a vector */
    unsigned size;      /* bytes of a general operand */
    unsigned modrm;
    int memory, vex, evex, wide; /* wide: REX.W */
};

static const uint8_t *x86_prefixes(const uint8_t *at, struct x86 *i) {
    int rep = 0, rex = 0, half = 0;
    for (;; at++) {
        if (*at == 0x66) half = 1;
        else if (*at == 0xf2 || *at == 0xf3) rep = *at == 0xf3 ? 2 : 3;
        else if (!(*at == 0x2e || *at == 0x36 || *at == 0x3e || *at == 0x26 || *at == 0x64
                   || *at == 0x65 || *at == 0x67 || *at == 0xf0)) break;
    }
    if ((*at & 0xf0) == 0x40) rex = *at++;
    i->wide = rex >> 3 & 1;
    i->pp = rep ? (unsigned)rep : (unsigned)half;
    i->size = i->wide ? 8 : half ? 2 : 4;
    i->width = 16;
    return at;
}

static const uint8_t *x86_opcode(const uint8_t *at, struct x86 *i) {
    if (*at == 0xc5 || *at == 0xc4) { /* VEX of two or three bytes */
        int three = *at == 0xc4;
        i->map = three ? at[1] & 31 : 1;
        uint8_t last = at[1 + three];
        i->wide = three && last >> 7;
        i->size = i->wide ? 8 : 4;
        i->width = last & 4 ? 32 : 16;
        i->pp = last & 3;
        i->vex = 1;
        at += 2 + three;
    } else if (*at == 0x62) {
        i->evex = 1;
        return at;
    } else if (*at == 0x0f) {
        at++;
        i->map = *at == 0x38 ? 2 : *at == 0x3a ? 3 : 1;
        at += i->map > 1;
    }
    i->op = *at++;
    return at;
}

/* ---- general registers ---- */

static struct what x86_touch(const struct x86 *i, enum kind kind, int reads, int writes, unsigned bytes) {
    if (!i->memory) return plain(kind == LOAD || kind == STORE ? SCALAR : kind);
    return (struct what){kind, reads ? bytes : 0, writes ? bytes : 0};
}

static struct what x86_group(const struct x86 *i, unsigned bytes) { /* F6, F7, FE, FF */
    unsigned reg = i->modrm >> 3 & 7;
    if (i->op == 0xff && (reg == 2 || reg == 4)) return x86_touch(i, BRANCH, 1, 0, 8);
    if (i->op == 0xff && reg == 6) return (struct what){STORE, i->memory ? 8 : 0, 8};
    int writes = i->op >= 0xfe || reg == 2 || reg == 3; /* INC, DEC; NOT, NEG */
    return x86_touch(i, SCALAR, 1, writes, bytes);
}

static struct what x86_one_byte(const struct x86 *i) {
    unsigned op = i->op, bytes = op & 1 ? i->size : 1, reg = i->modrm >> 3 & 7;
    if (op < 0x40) { /* ADD..CMP; the last, CMP, writes nothing */
        if ((op & 7) > 3) return plain(SCALAR);
        return x86_touch(i, SCALAR, 1, !(op & 2) && op < 0x38, bytes);
    }
    if (op >= 0x50 && op < 0x58) return (struct what){STORE, 0, 8}; /* PUSH */
    if (op >= 0x58 && op < 0x60) return (struct what){LOAD, 8, 0};
    if (op == 0x68 || op == 0x6a) return (struct what){STORE, 0, 8};
    if (op >= 0x70 && op < 0x80) return plain(BRANCH);
    if (op >= 0xd8 && op < 0xe0) return x86_touch(i, FLOAT, (reg & 2) == 0, (reg & 2) != 0, 8); /* x87 */
    switch (op) {
    case 0x63: return x86_touch(i, LOAD, 1, 0, 4);
    case 0x69: case 0x6b: return x86_touch(i, SCALAR, 1, 0, i->size);
    case 0x80: case 0x81: case 0x83: return x86_touch(i, SCALAR, 1, reg != 7, bytes);
    case 0x84: case 0x85: return x86_touch(i, SCALAR, 1, 0, bytes);
    case 0x86: case 0x87: return x86_touch(i, SCALAR, 1, 1, bytes);
    case 0x88: case 0x89: case 0xc6: case 0xc7: return x86_touch(i, STORE, 0, 1, bytes);
    case 0x8a: case 0x8b: return x86_touch(i, LOAD, 1, 0, bytes);
    case 0xa4: case 0xa5: return (struct what){LOAD, bytes, bytes}; /* MOVS; REP: one turn of it */
    case 0xa6: case 0xa7: return (struct what){LOAD, 2 * bytes, 0};
    case 0xaa: case 0xab: return (struct what){STORE, 0, bytes};
    case 0xac: case 0xad: case 0xae: case 0xaf: case 0xc9: return (struct what){LOAD, bytes, 0};
    case 0xc0: case 0xc1: case 0xd0: case 0xd1: case 0xd2: case 0xd3:
        return x86_touch(i, SCALAR, 1, 1, bytes);
    case 0xc2: case 0xc3: return (struct what){BRANCH, 8, 0};
    case 0xe8: return (struct what){BRANCH, 0, 8};
    case 0xe0: case 0xe1: case 0xe2: case 0xe3: case 0xe9: case 0xeb: return plain(BRANCH);
    case 0xf6: case 0xf7: case 0xfe: case 0xff: return x86_group(i, bytes);
    case 0xcc: case 0xcd: case 0xf4: return plain(OTHER);
    default: return plain(SCALAR);
    }
}

/* ---- vectors ---- */

static unsigned x86_element(const struct x86 *i) { /* bytes that the float operations touch */
    return i->pp == 2 ? 4 : i->pp == 3 ? 8 : i->width;
}

static struct what x86_arithmetic(const struct x86 *i, enum kind kind, unsigned bytes) {
    return (struct what){kind, i->memory ? bytes : 0, 0};
}

static struct what x86_vector_load(const struct x86 *i, unsigned bytes) {
    return i->memory ? moved(1, 1, bytes) : plain(VECTOR_MOVE);
}

static struct what x86_vector_store(const struct x86 *i, unsigned bytes) {
    return i->memory ? moved(0, 1, bytes) : plain(VECTOR_MOVE);
}

static struct what x86_vector_0f(const struct x86 *i) {
    unsigned op = i->op, one = x86_element(i), word = i->wide ? 8 : 4;
    int single = i->pp > 1;
    switch (op) {
    case 0x10: case 0x28: case 0x6f: case 0xf0: return x86_vector_load(i, op == 0x10 ? one : i->width);
    case 0x11: case 0x29: case 0x2b: case 0x7f: case 0xe7:
        return x86_vector_store(i, op == 0x11 ? one : i->width);
    case 0x12: case 0x16: return x86_vector_load(i, i->pp == 2 ? i->width : 8);
    case 0x13: case 0x17: case 0xd6: return x86_vector_store(i, 8);
    case 0x6e: return x86_vector_load(i, word);
    case 0x7e: return i->pp == 2 ? x86_vector_load(i, 8) : x86_vector_store(i, word);
    case 0x77: return plain(OTHER); /* VZEROUPPER */
    case 0x2a: case 0x2c: case 0x2d: return x86_arithmetic(i, single ? FLOAT : VECTOR_FLOAT, word);
    case 0x2e: case 0x2f: return x86_arithmetic(i, FLOAT, i->pp ? 8 : 4);
    case 0x54: case 0x55: case 0x56: case 0x57: return x86_arithmetic(i, VECTOR_INT, i->width);
    case 0xf4: case 0xf5: case 0xd5: case 0xe4: case 0xe5:
        return x86_arithmetic(i, VECTOR_MULTIPLY, i->width); /* PMULUDQ, PMADDWD, PMULLW, PMULHW */
    case 0x14: case 0x15: case 0x50: case 0x60: case 0x61: case 0x62: case 0x63: case 0x67: case 0x68:
    case 0x69: case 0x6a: case 0x6b: case 0x6c: case 0x6d: case 0x70: case 0xc4: case 0xc5: case 0xc6:
    case 0xd7: return x86_arithmetic(i, VECTOR_MOVE, i->width);
    default: break;
    }
    int floats = (op >= 0x51 && op <= 0x5f) || op == 0xc2 || op == 0x7c || op == 0x7d || op == 0xd0 || op == 0xe6;
    if (op == 0x5b || op == 0xe6) single = 0; /* conversions of whole vectors, whatever the prefix */
    if (!floats) return x86_arithmetic(i, VECTOR_INT, i->width);
    return x86_arithmetic(i, single ? FLOAT : VECTOR_FLOAT, single ? one : i->width);
}

static struct what x86_vector_0f38(const struct x86 *i) {
    unsigned op = i->op;
    if (op >= 0x96 && op <= 0xbf) { /* FMA; odd ones from 9 on take one value */
        int single = (op & 1) && (op & 15) > 8;
        return x86_arithmetic(i, single ? FLOAT : VECTOR_FMA, single ? (i->wide ? 8 : 4) : i->width);
    }
    if (op >= 0x90 && op <= 0x93) return moved(1, 1, i->width); /* gather */
    if (op >= 0x50 && op <= 0x53) return x86_arithmetic(i, VECTOR_DOT, i->width);
    if (op >= 0xdb && op <= 0xdf) return x86_arithmetic(i, CRYPTO, 16);
    if ((op >= 0x20 && op <= 0x25) || (op >= 0x30 && op <= 0x35)) { /* PMOVSX, PMOVZX */
        static const uint8_t shrink[6] = {2, 4, 8, 2, 4, 2};
        return x86_vector_load(i, i->width / shrink[op & 7]);
    }
    switch (op) {
    case 0x04: case 0x0b: case 0x28: case 0x40: return x86_arithmetic(i, VECTOR_MULTIPLY, i->width);
    case 0x18: case 0x58: return x86_vector_load(i, 4); /* broadcasts */
    case 0x19: case 0x59: return x86_vector_load(i, 8);
    case 0x1a: case 0x5a: return x86_vector_load(i, 16);
    case 0x78: case 0x79: return x86_vector_load(i, op == 0x78 ? 1 : 2);
    case 0x2a: case 0x2c: case 0x2d: case 0x8c: return x86_vector_load(i, i->width);
    case 0x2e: case 0x2f: case 0x8e: return x86_vector_store(i, i->width);
    case 0x13: return x86_arithmetic(i, VECTOR_FLOAT, i->width / 2); /* VCVTPH2PS */
    case 0x00: case 0x0c: case 0x0d: case 0x10: case 0x14: case 0x15: case 0x16: case 0x2b: case 0x36:
        return x86_arithmetic(i, VECTOR_MOVE, i->width);
    default: return x86_arithmetic(i, VECTOR_INT, i->width);
    }
}

static struct what x86_vector_0f3a(const struct x86 *i) {
    unsigned op = i->op;
    switch (op) {
    case 0x08: case 0x09: case 0x40: case 0x41: return x86_arithmetic(i, VECTOR_FLOAT, i->width);
    case 0x0a: case 0x0b: return x86_arithmetic(i, FLOAT, op == 0x0a ? 4 : 8);
    case 0x14: case 0x15: case 0x16: case 0x17:
        return x86_vector_store(i, op == 0x14 ? 1 : op == 0x15 ? 2 : op == 0x16 && i->wide ? 8 : 4);
    case 0x18: case 0x38: return x86_arithmetic(i, VECTOR_MOVE, 16); /* VINSERTF128 */
    case 0x19: case 0x39: return x86_vector_store(i, 16);
    case 0x1d: return x86_vector_store(i, i->width / 2);
    case 0x20: return x86_arithmetic(i, VECTOR_MOVE, 1);
    case 0x21: case 0x22: return x86_arithmetic(i, VECTOR_MOVE, i->wide ? 8 : 4);
    case 0x44: case 0xcc: case 0xdf: return x86_arithmetic(i, CRYPTO, 16);
    case 0x42: case 0x60: case 0x61: case 0x62: case 0x63: return x86_arithmetic(i, VECTOR_INT, 16);
    default: return x86_arithmetic(i, VECTOR_MOVE, i->width); /* permutations, blends */
    }
}

/* ---- both ---- */

static struct what x86_0f(const struct x86 *i) {
    unsigned op = i->op;
    int vector = (op >= 0x10 && op <= 0x17) || (op >= 0x28 && op <= 0x2f) || (op >= 0x50 && op <= 0x7f)
                 || op == 0xc2 || (op >= 0xc4 && op <= 0xc6) || op >= 0xd0;
    if (vector && !i->vex && op == 0xff) return plain(OTHER);
    if (vector || (i->vex && op == 0x2a)) return x86_vector_0f(i);
    if (op == 0x2a) return x86_vector_0f(i);
    if (op >= 0x80 && op < 0x90) return plain(BRANCH);
    if (op >= 0x90 && op < 0xa0) return x86_touch(i, STORE, 0, 1, 1); /* SETcc */
    if (op >= 0x40 && op < 0x50) return x86_touch(i, SCALAR, 1, 0, i->size); /* CMOV */
    if (op == 0x18 || op == 0x0d) return plain(LOAD); /* prefetch */
    if (op == 0x1e || op == 0x1f) return plain(SCALAR); /* NOP, ENDBR */
    if (op == 0xb6 || op == 0xb7 || op == 0xbe || op == 0xbf) return x86_touch(i, LOAD, 1, 0, op & 1 ? 2 : 1);
    if (op == 0xb0 || op == 0xb1 || op == 0xc0 || op == 0xc1 || op == 0xab || op == 0xb3 || op == 0xbb)
        return x86_touch(i, SCALAR, 1, 1, i->size); /* CMPXCHG, XADD, BTS.. */
    if (op == 0xa3 || op == 0xaf || op == 0xb8 || (op >= 0xba && op <= 0xbd))
        return x86_touch(i, SCALAR, 1, 0, i->size);
    if (op == 0xa4 || op == 0xa5 || op == 0xac || op == 0xad || (op >= 0xc8 && op < 0xd0)) return plain(SCALAR);
    return plain(OTHER); /* system, fences */
}

static struct what x86_64(const uint8_t *code) { /* at least 15 readable bytes */
    struct x86 i = {0};
    const uint8_t *at = x86_opcode(x86_prefixes(code, &i), &i);
    if (i.evex) return plain(OTHER);
    i.modrm = *at;
    i.memory = i.modrm >> 6 != 3;
    if (i.map == 0) return x86_one_byte(&i);
    if (i.map == 1) return x86_0f(&i);
    if (i.map == 2) return i.op >= 0xf0 ? x86_touch(&i, SCALAR, 1, 0, i.size) : x86_vector_0f38(&i);
    if (i.map == 3) return i.op == 0xf0 ? x86_touch(&i, SCALAR, 1, 0, i.size) : x86_vector_0f3a(&i);
    return plain(OTHER);
}
