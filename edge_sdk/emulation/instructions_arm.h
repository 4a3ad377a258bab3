/* A32 and T32, by the encoding tables of the Armv7-A Architecture Reference Manual (DDI 0406). */
#include "instructions.h"

/* Registers of VLD1..VLD4/VST1..VST4 (multiple structures), by bits 11:8. */
static const uint8_t arm_structures[16] = {4, 4, 4, 2, 3, 3, 3, 1, 2, 2, 2};

static struct what arm_vector_structure(uint32_t w) { /* 1111 0100 ...0 */
    int loads = bits(w, 21, 21);
    if (!bits(w, 23, 23)) return moved(loads, 1, 8 * arm_structures[bits(w, 11, 8)]);
    unsigned size = bits(w, 11, 10), registers = bits(w, 9, 8) + 1;
    return moved(loads, 1, registers << (size == 3 ? bits(w, 7, 6) : size)); /* 3: to all lanes */
}

static enum kind arm_three_same(uint32_t w) {
    unsigned op = bits(w, 11, 8), b = bits(w, 4, 4), u = bits(w, 24, 24);
    if ((op == 12 && b) || (op == 13 && b && !u)) return VECTOR_FMA; /* VFMA; VMLA.F32 */
    if (op >= 13) return VECTOR_FLOAT;
    if (op == 9 || op == 11) return op == 11 && b && !u ? VECTOR_INT : VECTOR_MULTIPLY; /* VPADD */
    if (op == 1 && b && !u && bits(w, 21, 20) == 2 && bits(w, 19, 16) == bits(w, 3, 0))
        return VECTOR_MOVE; /* VMOV is VORR of a register with itself */
    return VECTOR_INT;
}

static enum kind arm_two_misc(uint32_t w) {
    unsigned op = bits(w, 10, 7);
    switch (bits(w, 17, 16)) {
    case 0: return op < 3 ? VECTOR_MOVE : VECTOR_INT;          /* VREV */
    case 1: return op & 8 ? VECTOR_FLOAT : VECTOR_INT;
    case 2: return op < 5 ? VECTOR_MOVE : op >= 12 ? VECTOR_FLOAT : VECTOR_INT; /* VZIP; VCVT */
    default: return op >= 8 && !(op < 10 && !bits(w, 8, 8)) ? VECTOR_FLOAT : VECTOR_INT;
    }
}

static enum kind arm_neon(uint32_t w) { /* 1111 001U */
    unsigned op = bits(w, 11, 8);
    if (!bits(w, 23, 23)) return arm_three_same(w);
    if (bits(w, 4, 4)) {
        if (bits(w, 21, 19) == 0 && !bits(w, 7, 7)) return VECTOR_MOVE; /* VMOV of an immediate */
        return op >= 14 ? VECTOR_FLOAT : VECTOR_INT;                    /* VCVT; shifts */
    }
    if (bits(w, 21, 20) == 3) {
        if (!bits(w, 24, 24) || bits(w, 11, 10) == 2 || op == 12) return VECTOR_MOVE; /* VEXT, VTBL, VDUP */
        return arm_two_misc(w);
    }
    if (!bits(w, 6, 6)) return op >= 8 ? VECTOR_MULTIPLY : VECTOR_INT; /* VMULL; VADDL */
    if (op == 1 || op == 5) return VECTOR_FMA;                         /* by one lane */
    return op == 9 ? VECTOR_FLOAT : VECTOR_MULTIPLY;
}

static struct what arm_coprocessor(uint32_t w) { /* cond 11x. */
    unsigned coprocessor = bits(w, 11, 8);
    if (is(w, 0xff800e00, 0xfc000c00) || is(w, 0xff800e00, 0xfe000c00)) { /* Armv8 additions */
        if (is(w, 0xff300f40, 0xfc200c40)) return plain(VECTOR_MATMUL);
        if (is(w, 0xff300f00, 0xfc200d00) || is(w, 0xff300f00, 0xfe200d00)) return plain(VECTOR_DOT);
        return plain(VECTOR_FMA); /* VCMLA, VFMAL */
    }
    if (is(w, 0xffb00f00, 0xfe200d00) || is(w, 0xffb00f00, 0xfca00d00) || is(w, 0xffb00f00, 0xfe800d00))
        return plain(VECTOR_DOT); /* VUSDOT, VSUDOT */
    if (coprocessor < 9 || coprocessor > 11) return plain(OTHER);
    if (bits(w, 25, 25)) return plain(bits(w, 4, 4) && bits(w, 31, 28) != 15 ? VECTOR_MOVE : FLOAT);
    if (is(w, 0x0fe00000, 0x0c400000)) return plain(VECTOR_MOVE); /* two general registers */
    unsigned one = coprocessor == 11 ? 8 : coprocessor == 10 ? 4 : 2;
    unsigned bytes = bits(w, 24, 24) && !bits(w, 21, 21) ? one : 4 * bits(w, 7, 0); /* VLDR; VLDM */
    return moved(bits(w, 20, 20), 1, bytes > 128 ? 128 : bytes);
}

static unsigned arm_list(uint32_t w) { return 4 * (unsigned)__builtin_popcount(w & 0xffff); }

static struct what arm_multiply_or_extra(uint32_t w) { /* cond 000. .... 1..1 */
    unsigned op = bits(w, 6, 5);
    if (op == 0) {
        if (!bits(w, 24, 24)) return plain(SCALAR); /* MUL, MLA, UMULL */
        static const uint8_t exclusive[4] = {4, 8, 1, 2};
        return moved(bits(w, 20, 20), 0, exclusive[bits(w, 22, 21)]);
    }
    if (!bits(w, 20, 20) && op != 1) return moved(op == 2, 0, 8); /* LDRD, STRD */
    return moved(bits(w, 20, 20), 0, op == 2 ? 1 : 2);
}

static struct what a32(uint32_t w) {
    if (bits(w, 31, 28) == 15) {
        if (bits(w, 27, 25) == 1) return plain(arm_neon(w));
        if (is(w, 0x0f100000, 0x04000000)) return arm_vector_structure(w);
        if (is(w, 0x0d700000, 0x05500000)) return plain(LOAD); /* PLD */
        if (bits(w, 27, 25) == 5) return plain(BRANCH);
        return bits(w, 27, 26) == 3 ? arm_coprocessor(w) : plain(OTHER);
    }
    switch (bits(w, 27, 25)) {
    case 0:
        if (is(w, 0x0fffffd0, 0x012fff10)) return plain(BRANCH); /* BX, BLX */
        return is(w, 0x90, 0x90) ? arm_multiply_or_extra(w) : plain(SCALAR);
    case 1: return plain(SCALAR);
    case 3: if (bits(w, 4, 4)) return plain(SCALAR); /* media instructions */ /* fall through */
    case 2: return moved(bits(w, 20, 20), 0, bits(w, 22, 22) ? 1 : 4);
    case 4: return moved(bits(w, 20, 20), 0, arm_list(w));
    case 5: return plain(BRANCH);
    default: return bits(w, 27, 24) == 15 ? plain(OTHER) : arm_coprocessor(w);
    }
}

static struct what t16(uint32_t h) {
    static const uint8_t sizes[8] = {4, 2, 1, 1, 4, 2, 1, 2};
    unsigned low = 4 * (unsigned)__builtin_popcount(h & 0xff);
    if (h < 0x4800) return plain(is(h, 0xff00, 0x4700) ? BRANCH : SCALAR);
    if (h < 0x5000) return moved(1, 0, 4);
    if (h < 0x6000) return moved(bits(h, 11, 9) >= 3, 0, sizes[bits(h, 11, 9)]);
    if (h < 0xa000) return moved(bits(h, 11, 11), 0, is(h, 0xf000, 0x7000) ? 1 : is(h, 0xf000, 0x8000) ? 2 : 4);
    if (h < 0xb000) return plain(SCALAR);
    if (is(h, 0xf600, 0xb400)) return moved(bits(h, 11, 11), 0, low + 4 * bits(h, 8, 8)); /* PUSH, POP */
    if (is(h, 0xf500, 0xb100)) return plain(BRANCH); /* CBZ */
    if (h < 0xc000) return plain(SCALAR);
    if (h < 0xd000) return moved(bits(h, 11, 11), 0, low);
    return plain(is(h, 0xfe00, 0xde00) ? OTHER : BRANCH);
}

static struct what t32(uint32_t w) { /* the first halfword in the upper bits */
    uint32_t high = w >> 16;
    if (is(high, 0xef00, 0xef00)) return plain(arm_neon(0xf2000000 | bits(w, 28, 28) << 24 | (w & 0xffffff)));
    if (is(high, 0xff10, 0xf900)) return arm_vector_structure(0xf4000000 | (w & 0xffffff));
    if (is(high, 0xec00, 0xec00)) return arm_coprocessor(w);
    if (is(high, 0xfe40, 0xe800)) return moved(bits(w, 20, 20), 0, arm_list(w));
    if (is(high, 0xfe40, 0xe840)) {
        if (is(w, 0xfff0ffe0, 0xe8d0f000)) return plain(BRANCH); /* TBB, TBH */
        int exclusive = is(high, 0xffe0, 0xe840), narrow = is(high, 0xffe0, 0xe8c0);
        unsigned width = bits(w, 5, 4);
        return moved(bits(w, 20, 20), 0, exclusive ? 4 : narrow && width < 3 ? 1u << width : 8);
    }
    if (is(high, 0xfe00, 0xea00)) return plain(SCALAR);
    if (is(high, 0xf800, 0xf000)) {
        if (!bits(w, 15, 15)) return plain(SCALAR);
        return plain(is(w, 0x03805000, 0x03800000) ? OTHER : BRANCH); /* MSR, barriers */
    }
    if (is(high, 0xfe00, 0xf800)) {
        if (bits(w, 22, 21) == 3) return plain(OTHER);
        if (bits(w, 20, 20) && bits(w, 15, 12) == 15 && bits(w, 22, 21) != 2) return plain(LOAD); /* PLD */
        return moved(bits(w, 20, 20), 0, 1u << bits(w, 22, 21));
    }
    return plain(SCALAR); /* register operations, multiplies */
}

static int t32_prefix(uint32_t halfword) { return bits(halfword, 15, 11) > 0x1c; }

/* Does a block whose instructions are all four bytes long, at addresses of A32, hold T32?
 * Nobody says in which state the CPU is. In T32 each first halfword is a prefix; in A32 that
 * halfword holds operands, and the condition above it is nearly always "always" (0xe). */
static int looks_t32(const uint32_t *words, unsigned count) {
    int always = 1;
    for (unsigned i = 0; i < count; i++) {
        if (!t32_prefix(words[i] & 0xffff)) return 0;
        always &= bits(words[i], 31, 28) == 14;
    }
    return !always;
}
