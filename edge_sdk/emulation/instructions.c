/* A QEMU plugin (user mode) that counts the guest's instructions by class, and the bytes they move.
 *
 * Each translated block is decoded once, when QEMU translates it; at run time one inline addition
 * counts how often it ran. A report multiplies the two. So counting costs an addition per block,
 * not a call per instruction or access.
 *
 * A report is written at each mark, a system call of the guest with the number MARK, which no kernel
 * has, and at exit: one JSON object a line, with the sums since the start.
 *
 * Only the documented plugin interface is used. It is declared here because no distribution packages
 * its header; what it is called with depends on API, which the build gives:
 *   1  QEMU 4.2 to 8.2
 *   2  QEMU 9.0: counters live in scoreboards, one value per virtual CPU
 *   3  QEMU 9.1 on: the bytes of an instruction are copied out
 * Options: out=FILE (else the standard error).
 *
 * With -DTEST this file is a program instead, which classifies the encodings on its standard input.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "instructions_aarch64.h"
#include "instructions_arm.h"
#include "instructions_x86_64.h"

#define MARK 6800
#define LONGEST 16 /* bytes of an instruction: 15 on x86 */

struct insn {
    uint8_t code[LONGEST];
    unsigned size;
    uint64_t address;
};

/* What one run of a block adds. */
struct block {
    uint16_t kinds[KINDS];
    uint32_t loaded, stored, vector_loaded, vector_stored;
};

static void add(struct block *block, struct what what) {
    block->kinds[what.kind]++;
    *(is_vector(what.kind) ? &block->vector_loaded : &block->loaded) += what.loaded;
    *(is_vector(what.kind) ? &block->vector_stored : &block->stored) += what.stored;
}

static uint32_t word(const struct insn *insn) {
    return insn->code[0] | insn->code[1] << 8 | insn->code[2] << 16 | (uint32_t)insn->code[3] << 24;
}

static void add_aarch64(struct block *block, const struct insn *insns, unsigned count) {
    for (unsigned i = 0; i < count; i++) add(block, aarch64(insns[i].code));
}

static void add_x86_64(struct block *block, const struct insn *insns, unsigned count) {
    for (unsigned i = 0; i < count; i++) add(block, x86_64(insns[i].code));
}

static void add_arm(struct block *block, const struct insn *insns, unsigned count) {
    bool thumb = false;
    for (unsigned i = 0; i < count; i++) thumb |= insns[i].size == 2 || insns[i].address & 2;
    if (!thumb) {
        uint32_t *words = malloc(count * sizeof *words);
        if (!words) abort();
        for (unsigned i = 0; i < count; i++) words[i] = word(&insns[i]);
        thumb = looks_t32(words, count);
        free(words);
    }
    for (unsigned i = 0; i < count; i++) {
        uint32_t w = word(&insns[i]);
        if (!thumb) add(block, a32(w));
        else add(block, insns[i].size == 2 ? t16(w & 0xffff) : t32(w << 16 | w >> 16));
    }
}

static const struct isa {
    const char *name; /* as QEMU calls its target */
    void (*add)(struct block *, const struct insn *, unsigned);
} isas[] = {{"aarch64", add_aarch64}, {"arm", add_arm}, {"x86_64", add_x86_64}};

static const struct isa *isa_called(const char *name) {
    for (unsigned i = 0; i < sizeof isas / sizeof *isas; i++)
        if (!strcmp(isas[i].name, name)) return &isas[i];
    return NULL;
}

static const char *const kind_names[KINDS] = {
#define X(name, text) text,
    CLASSES(X)
#undef X
};

#ifndef TEST

/* ---- QEMU's interface ---- */

#define EXPORT __attribute__((visibility("default")))
typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum qemu_plugin_op { QEMU_PLUGIN_INLINE_ADD_U64 };
typedef struct {
    const char *target_name;
    struct { int min, cur; } version;
    bool system_emulation;
} qemu_info_t; /* its first fields, which never changed */

typedef void (*translated_t)(qemu_plugin_id_t, struct qemu_plugin_tb *);
typedef void (*called_t)(qemu_plugin_id_t, unsigned, int64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                         uint64_t, uint64_t, uint64_t, uint64_t);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, translated_t);
void qemu_plugin_register_vcpu_syscall_cb(qemu_plugin_id_t, called_t);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, void *), void *);

#if API >= 3
size_t qemu_plugin_insn_data(const struct qemu_plugin_insn *, void *, size_t);
#else
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
#endif

#if API >= 2
struct qemu_plugin_scoreboard;
typedef struct {
    struct qemu_plugin_scoreboard *score;
    size_t offset;
} qemu_plugin_u64;
struct qemu_plugin_scoreboard *qemu_plugin_scoreboard_new(size_t);
uint64_t qemu_plugin_u64_sum(qemu_plugin_u64);
void qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(struct qemu_plugin_tb *, enum qemu_plugin_op,
                                                       qemu_plugin_u64, uint64_t);
#else
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, enum qemu_plugin_op, void *, uint64_t);
#endif

EXPORT int qemu_plugin_version = API;

/* ---- the blocks, in chunks that never move, because translated code points into them ---- */

#define CHUNK 4096

struct chunk {
    struct chunk *next; /* the one before it in time */
    unsigned used;
    struct block blocks[CHUNK];
#if API >= 2
    struct qemu_plugin_scoreboard *score;
#else
    uint64_t runs[CHUNK];
#endif
};

static struct chunk *chunks;
static const struct isa *isa;
static FILE *out;

/* QEMU holds a lock of its own while it translates, and reports come from the one thread that is
 * measured; other threads would be counted, on API 1 without an atomic addition. */
static struct chunk *chunk_with_room(void) {
    if (chunks && chunks->used < CHUNK) return chunks;
    struct chunk *chunk = calloc(1, sizeof *chunk);
    if (!chunk) abort();
#if API >= 2
    chunk->score = qemu_plugin_scoreboard_new(CHUNK * sizeof(uint64_t));
#endif
    chunk->next = chunks;
    return chunks = chunk;
}

static void count_runs(struct qemu_plugin_tb *tb, struct chunk *chunk, unsigned slot) {
#if API >= 2
    qemu_plugin_u64 runs = {chunk->score, slot * sizeof(uint64_t)};
    qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(tb, QEMU_PLUGIN_INLINE_ADD_U64, runs, 1);
#else
    qemu_plugin_register_vcpu_tb_exec_inline(tb, QEMU_PLUGIN_INLINE_ADD_U64, &chunk->runs[slot], 1);
#endif
}

static uint64_t runs_of(const struct chunk *chunk, unsigned slot) {
#if API >= 2
    return qemu_plugin_u64_sum((qemu_plugin_u64){chunk->score, slot * sizeof(uint64_t)});
#else
    return chunk->runs[slot];
#endif
}

static void read_insn(const struct qemu_plugin_insn *from, struct insn *insn) {
    insn->size = (unsigned)qemu_plugin_insn_size(from);
    insn->address = qemu_plugin_insn_vaddr(from);
    size_t bytes = insn->size < LONGEST ? insn->size : LONGEST;
#if API >= 3
    qemu_plugin_insn_data(from, insn->code, bytes);
#else
    memcpy(insn->code, qemu_plugin_insn_data(from), bytes);
#endif
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb) {
    (void)id;
    unsigned count = (unsigned)qemu_plugin_tb_n_insns(tb);
    struct insn *insns = calloc(count, sizeof *insns);
    if (!insns) abort();
    for (unsigned i = 0; i < count; i++) read_insn(qemu_plugin_tb_get_insn(tb, i), &insns[i]);
    struct chunk *chunk = chunk_with_room();
    unsigned slot = chunk->used++;
    isa->add(&chunk->blocks[slot], insns, count);
    count_runs(tb, chunk, slot);
    free(insns);
}

static void report(const char *what, uint64_t number) {
    uint64_t kinds[KINDS] = {0}, loaded = 0, stored = 0, vector_loaded = 0, vector_stored = 0;
    for (const struct chunk *chunk = chunks; chunk; chunk = chunk->next)
        for (unsigned slot = 0; slot < chunk->used; slot++) {
            uint64_t runs = runs_of(chunk, slot);
            const struct block *block = &chunk->blocks[slot];
            if (!runs) continue;
            for (int kind = 0; kind < KINDS; kind++) kinds[kind] += runs * block->kinds[kind];
            loaded += runs * block->loaded;
            stored += runs * block->stored;
            vector_loaded += runs * block->vector_loaded;
            vector_stored += runs * block->vector_stored;
        }
    fprintf(out, "{\"%s\": %" PRIu64 ", \"instructions\": {", what, number);
    for (int kind = 0; kind < KINDS; kind++)
        fprintf(out, "%s\"%s\": %" PRIu64, kind ? ", " : "", kind_names[kind], kinds[kind]);
    fprintf(out, "}, \"bytes\": {\"load\": %" PRIu64 ", \"store\": %" PRIu64 ", \"vector_load\": %" PRIu64
            ", \"vector_store\": %" PRIu64 "}}\n", loaded, stored, vector_loaded, vector_stored);
    fflush(out);
}

static void called(qemu_plugin_id_t id, unsigned cpu, int64_t number, uint64_t mark, uint64_t a2,
                   uint64_t a3, uint64_t a4, uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8) {
    (void)id, (void)cpu, (void)a2, (void)a3, (void)a4, (void)a5, (void)a6, (void)a7, (void)a8;
    if (number == MARK) report("mark", mark);
}

static void finished(qemu_plugin_id_t id, void *data) {
    (void)id, (void)data;
    report("end", 0);
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv) {
    const char *path = NULL;
    for (int i = 0; i < argc; i++)
        if (!strncmp(argv[i], "out=", 4)) path = argv[i] + 4;
    isa = isa_called(info->target_name);
    out = path ? fopen(path, "w") : stderr;
    if (!isa || !out || info->system_emulation) {
        fprintf(stderr, "instructions: %s\n", out ? "this guest is not one that is counted" : path);
        return -1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_vcpu_syscall_cb(id, called);
    qemu_plugin_register_atexit_cb(id, finished, NULL);
    return 0;
}

#else

/* Lines of "ISA HEX", the bytes of one block in memory's order, spaces between its instructions;
 * gives "CLASS LOADED STORED" for each instruction, a line a block. */
int main(void) {
    char line[4096];
    while (fgets(line, sizeof line, stdin)) {
        const struct isa *isa = isa_called(strtok(line, " \n"));
        struct insn insns[64] = {0};
        unsigned count = 0;
        for (char *hex; isa && count < 64 && (hex = strtok(NULL, " \n")); count++)
            for (; hex[0] && hex[1] && insns[count].size < LONGEST; hex += 2)
                sscanf(hex, "%2hhx", &insns[count].code[insns[count].size++]);
        if (!isa) return 2;
        struct block block = {0};
        isa->add(&block, insns, count);
        for (int kind = 0; kind < KINDS; kind++)
            if (block.kinds[kind]) printf("%s*%u ", kind_names[kind], block.kinds[kind]);
        printf("%u %u %u %u\n", block.loaded, block.stored, block.vector_loaded, block.vector_stored);
    }
    return 0;
}

#endif
