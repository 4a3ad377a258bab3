/* What a guest instruction is: its class and the bytes that it moves, by instruction set.
 *
 * The classes are those that cost differently on a CPU, and the same for every instruction set, so
 * that one model of latency can weigh them. An instruction has exactly one class. One that computes
 * on an operand in memory (x86) has the class of its arithmetic; its traffic is in the bytes.
 */
#ifndef INSTRUCTIONS_H
#define INSTRUCTIONS_H

#include <stdint.h>

#define CLASSES(X) \
    X(SCALAR, "scalar")                   /* integer arithmetic, moves, addresses */ \
    X(BRANCH, "branch") \
    X(LOAD, "load") \
    X(STORE, "store")                     /* of general registers */ \
    X(FLOAT, "float")                     /* floating point, one value */ \
    X(CRYPTO, "crypto") \
    X(OTHER, "other")                     /* system, barriers, what is not decoded (SVE, AVX-512) */ \
    X(VECTOR_LOAD, "vector_load") \
    X(VECTOR_STORE, "vector_store")       /* of floating-point and SIMD registers */ \
    X(VECTOR_MOVE, "vector_move")         /* copies, permutations, immediates, narrowing */ \
    X(VECTOR_FLOAT, "vector_float")       /* float32 and float64, but for: */ \
    X(VECTOR_FMA, "vector_fma")           /* multiply-accumulate of floats */ \
    X(VECTOR_HALF, "vector_half")         /* float16 arithmetic */ \
    X(VECTOR_INT, "vector_int")           /* integers: add, compare, shift, logic */ \
    X(VECTOR_MULTIPLY, "vector_multiply") /* integers: multiply and multiply-accumulate */ \
    X(VECTOR_DOT, "vector_dot")           /* four products summed per lane: SDOT, UDOT, VPDPBUSD */ \
    X(VECTOR_MATMUL, "vector_matmul")     /* i8mm and BF16 matrix products: SMMLA, BFMMLA */

enum kind {
#define X(name, text) name,
    CLASSES(X)
#undef X
    KINDS
};

struct what {
    enum kind kind;
    unsigned loaded, stored; /* bytes */
};

/* Vector classes come last: their traffic is counted apart. */
static inline int is_vector(enum kind kind) { return kind >= VECTOR_LOAD; }

static inline struct what plain(enum kind kind) { return (struct what){kind, 0, 0}; }

static inline struct what moved(int loads, int vector, unsigned bytes) {
    if (loads) return (struct what){vector ? VECTOR_LOAD : LOAD, bytes, 0};
    return (struct what){vector ? VECTOR_STORE : STORE, 0, bytes};
}

/* Bits `high`..`low` of an encoding, as the architecture manuals number them. */
static inline uint32_t bits(uint32_t word, int high, int low) {
    return (word >> low) & ((2u << (high - low)) - 1);
}

static inline int is(uint32_t word, uint32_t mask, uint32_t value) { return (word & mask) == value; }

#endif
