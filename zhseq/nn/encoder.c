/* The tagger's network with 8-bit weights: embeddings, a BiLSTM and a window CNN side by side, and emission scores. Called only
   by zhseq/tagging/native.py, with arrays that it has validated: C order, the types below, consistent sizes.

   Vectors are also quantised to 8 bits, each with its own scale, so that the scores of a text do not depend on the other texts
   of the batch.

   Texts are processed in groups. Rows of a group are ordered by position, then by text, longest text first, so that the texts
   that are active in a step of the LSTM are contiguous.

   The code is compiled once per instruction set, with the same results: integer products are summed exactly, and all fused
   multiply-adds are explicit (fmaf), by an instruction or by the C library. */

#define _DEFAULT_SOURCE /* syscall */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "portable.h"
#include "products.h"

#define GROUP 32 /* maximum number of texts in a group */

typedef struct {
    int64_t dim;
    const float *rows; /* (rows, dim) */
} table_t;

typedef struct {
    matrix_t inputs[2];    /* per direction, inputs to gates: input, forget, cell, output of LANES units, then of the next LANES */
    matrix_t recurrent[2]; /* per direction, previous state to gates */
} layer_t;

typedef struct {
    int64_t level;  /* instruction set */
    int64_t read;   /* dimensions of the input vector of a character, padded to a multiple of BLOCK */
    int64_t slots;  /* maximum number of words in each of the four sets of a character */
    int64_t units;  /* LSTM units per direction, padded to a multiple of LANES */
    int64_t state;  /* dimensions of the state of a direction, padded to a multiple of BLOCK */
    int64_t layers; /* LSTM layers */
    int64_t channels, width; /* of the CNN; channels are padded to a multiple of BLOCK, 0 for no CNN */
    int64_t heads;
    const layer_t *lstm;     /* (layers) */
    const int64_t *tags;     /* (heads): number of tags; the scores of all heads are concatenated */
    table_t characters, bigrams, words; /* dim is 0 for a missing table */
    matrix_t window;          /* (read) to (width * channels), a part for each position of the window */
    const float *window_bias; /* (channels) */
    matrix_t from_states;     /* states of the last layer to scores */
    matrix_t from_window;     /* CNN outputs to scores */
} network_t;

typedef struct {
    int64_t texts, length;       /* number of texts, padded length of the scores */
    const int64_t *lengths;      /* (texts) */
    int64_t chosen;
    const int64_t *order;        /* (chosen): texts to process, longest first */
    const int32_t *characters;   /* (characters of all texts): rows of the embedding table */
    const int32_t *bigrams;      /* (characters): rows */
    const int32_t *words;        /* (characters, 4 * slots): rows */
    const float *shares;         /* (characters, 4 * slots): weights of the words */
    float *const *found;         /* (heads): scores (texts, length, tags), or NULL for a head that is not requested */
} texts_t;

/* ---- LSTM ---- */

/* exp(x * factor), with the exponent clamped to [-25, 25], so that products of three results are finite. */
INLINE float power(float x, const float factor) {
    const float scale = factor * 1.44269504f, most = 25.0f / (factor < 0.0f ? -factor : factor);
    x = larger(smaller(x, most), -most);
    float_bits_t whole = {fmaf(x, scale, SHIFT)};
    const float part = fmaf(x, scale, SHIFT - whole.value);
    float_bits_t found = {fmaf(part, 1.3276472e-3f, 9.6755413e-3f)}; /* 2**part by a minimax polynomial */
    found.value = fmaf(part, found.value, 5.5507133e-2f);
    found.value = fmaf(part, found.value, 2.4022120e-1f);
    found.value = fmaf(part, found.value, 6.9314697e-1f);
    found.value = fmaf(part, found.value, 1.0000001f);
    found.bits += (int32_t)((uint32_t)whole.bits << 23); /* add `whole` to the exponent */
    return found.value;
}

/* Compute one step of LANES units: update their cells, and write their states as 8-bit numbers. */
INLINE void step_units(const float *gates, float *cells, uint8_t *states) {
    int32_t found[LANES];
#pragma omp simd
    for (int u = 0; u < LANES; u++) {
        const float input = 1.0f + power(gates[u], -1.0f), forget = 1.0f + power(gates[LANES + u], -1.0f);
        const float fresh = power(gates[2 * LANES + u], -2.0f), output = 1.0f + power(gates[3 * LANES + u], -1.0f);
        const float both = fmaf(input, fresh, input); /* common denominator of input gate and cell candidate, to save divisions */
        const float now = fmaf(cells[u], both, fmaf(-fresh, forget, forget)) / (forget * both);
        const float squeezed = power(now, -2.0f);
        const float state = fmaf(-127.0f, squeezed, 127.0f) / fmaf(output, squeezed, output);
        const float_bits_t number = {state + (SHIFT + 128.0f)};
        cells[u] = now, found[u] = number.bits;
    }
    for (int u = 0; u < LANES; u++) states[u] = (uint8_t)found[u];
}

/* One step of the LSTM for the texts that are active at a position. */
typedef struct {
    int64_t texts, known;   /* active texts; the first `known` of them have a previous state */
    const float *gates;     /* contribution of the inputs to the gates, (units / LANES, rows, BLOCK) */
    int64_t rows;           /* second dimension of gates */
    vectors_t before;       /* previous states */
    uint8_t *states;        /* output, with the stride of `before` */
    float *cells;           /* (units / LANES, GROUP, LANES) */
} step_t;

/* Compute a step; the sums of one tile are converted to states while the next tile is multiplied. */
INLINE void take_step(int level, const matrix_t *recurrent, const step_t *step) {
    const int32_t nothing[BLOCK] = {0};
    int32_t acc[2][TILE * BLOCK];
    tile_t tile = first_tile(recurrent, step->texts), last = {0, 0, 0, 0};
    for (int turn = 0; tile.count || last.count; turn = !turn) {
        tile_t part = tile;
        part.count = step->known - tile.first < tile.count ? (int)(step->known - tile.first) : tile.count;
        if (part.count > 0) multiply_tile(level, recurrent, part, step->before, acc[turn]);
        const float *scales = recurrent->scales + last.column;
        for (int64_t text = last.first; text < last.first + last.count; text++) {
            const int64_t block = last.column / BLOCK, unit = block * LANES;
            const float *read = step->gates + (block * step->rows + text) * BLOCK;
            const int32_t *sums = text < step->known ? acc[!turn] + (text - last.first) * BLOCK : nothing;
            float gates[BLOCK];
#pragma omp simd
            for (int c = 0; c < BLOCK; c++) gates[c] = (float)sums[c] * (scales[c] * (1.0f / 127.0f)) + read[c];
            const int64_t place = text * step->before.stride + unit;
            step_units(gates, step->cells + (block * GROUP + text) * LANES, step->states + place);
        }
        last = tile, tile = next_tile(recurrent, step->texts, tile);
    }
}

/* ---- Network ---- */

/* Buffers for a group. Rows are characters, ordered by position, then by text. */
typedef struct {
    uint8_t *read;         /* (characters, read): input vectors */
    float *read_scales;    /* (characters) */
    uint8_t *states[2];    /* (characters, 2 * state): of the layer below and of the current one, alternating */
    float *unit;           /* (characters): 1 / 127, the scale of states */
    uint8_t *window;       /* (characters, channels): outputs of the CNN */
    float *window_scales;  /* (characters) */
    uint8_t *some;         /* (MOST, read): consecutive input vectors of one text */
    float *some_scales;    /* (MOST) */
    float *wide;           /* (maximum number of rows, maximum number of outputs): products */
    float *cells;          /* (units / LANES, GROUP, LANES) */
    float *sums;           /* (maximum size of a vector): a vector before quantisation */
} space_t;

typedef struct {
    int64_t count, longest;
    const int64_t *offsets; /* (longest + 1): first row of each position */
    int64_t lengths[GROUP], sources[GROUP], numbers[GROUP]; /* of each text; sources: index of its first character in texts_t */
} group_t;

INLINE void look_up(const network_t *net, const texts_t *texts, const group_t *group, space_t *space) {
    float *vector = space->sums;
    const int64_t wide = net->words.dim, dim = net->characters.dim, pair = net->bigrams.dim;
    const int64_t used = dim + pair + 4 * wide;
    for (int64_t text = 0; text < group->count; text++)
        for (int64_t at = 0; at < group->lengths[text]; at++) {
            const int64_t source = group->sources[text] + at, row = group->offsets[at] + text;
            memcpy(vector, net->characters.rows + texts->characters[source] * dim, sizeof(float) * dim);
            if (pair) memcpy(vector + dim, net->bigrams.rows + texts->bigrams[source] * pair, sizeof(float) * pair);
            for (int set = 0; wide && set < 4; set++) {
                float *sum = vector + dim + pair + set * wide;
                memset(sum, 0, sizeof(float) * wide);
                for (int64_t slot = 0; slot < net->slots; slot++) {
                    const int64_t place = (4 * source + set) * net->slots + slot;
                    const float share = texts->shares[place];
                    const float *word = net->words.rows + texts->words[place] * wide;
                    if (share != 0.0f)
                        for (int64_t i = 0; i < wide; i++) sum[i] += share * word[i];
                }
            }
            round_vector(vector, used, space->read + row * net->read, space->read_scales + row);
        }
}

/* Compute one direction of an LSTM layer from vectors, (characters, inputs), into states, (characters, 2 * state). */
INLINE void read_direction(const network_t *net, int level, const layer_t *layer, int direction, const group_t *group,
                           vectors_t vectors, uint8_t *states, space_t *space) {
    const matrix_t *inputs = layer->inputs + direction, *recurrent = layer->recurrent + direction;
    const int64_t *offsets = group->offsets, stride = 2 * net->state, longest = group->longest;
    uint8_t *own = states + direction * net->state;
    memset(space->cells, 0, sizeof(float) * GROUP * net->units);
    step_t step = {.known = 0, .before = {NULL, NULL, stride}, .cells = space->cells};
    for (int64_t done = 0; done < longest;) {
        int64_t begin = direction ? longest - done - 1 : done, end = begin + 1; /* positions whose inputs are multiplied at once */
        while (direction && begin > 0 && offsets[end] - offsets[begin - 1] <= MOST) begin--;
        while (!direction && end < longest && offsets[end + 1] - offsets[begin] <= MOST) end++;
        step.rows = offsets[end] - offsets[begin];
        const vectors_t slab = {vectors.values + offsets[begin] * vectors.stride, vectors.scales + offsets[begin], vectors.stride};
        multiply(level, inputs, slab, step.rows, (place_t){space->wide, BLOCK, step.rows * BLOCK, inputs->outputs}, 0);
        for (int64_t n = 0; n < end - begin; n++, done++) {
            const int64_t at = direction ? end - 1 - n : begin + n;
            step.texts = offsets[at + 1] - offsets[at];
            if (step.known > step.texts) step.known = step.texts; /* the other texts have ended */
            step.gates = space->wide + (offsets[at] - offsets[begin]) * BLOCK;
            step.states = own + offsets[at] * stride;
            take_step(level, recurrent, &step);
            step.before.values = step.states, step.known = step.texts;
        }
    }
}

/* Compute the window CNN, text by text. */
INLINE void read_windows(const network_t *net, int level, const group_t *group, space_t *space) {
    const int64_t channels = net->channels, width = net->width, side = width / 2, columns = net->window.outputs;
    const vectors_t some = {space->some, space->some_scales, net->read};
    float *sums = space->sums;
    for (int64_t text = 0; text < group->count; text++) {
        const int64_t length = group->lengths[text];
        for (int64_t first = 0; first < length; first += MOST) {
            const int64_t rows = length - first < MOST ? length - first : MOST;
            for (int64_t n = 0; n < rows; n++) {
                const int64_t row = group->offsets[first + n] + text;
                memcpy(space->some + n * net->read, space->read + row * net->read, net->read);
                space->some_scales[n] = space->read_scales[row];
            }
            multiply(level, &net->window, some, rows, (place_t){space->wide + first * columns, columns, BLOCK, columns}, 0);
        }
        for (int64_t at = 0; at < length; at++) {
            memcpy(sums, net->window_bias, sizeof(float) * channels);
            for (int64_t shift = 0; shift < width; shift++) {
                const int64_t other = at + shift - side;
                if (other < 0 || other >= length) continue;
                const float *part = space->wide + other * columns + shift * channels;
                for (int64_t c = 0; c < channels; c++) sums[c] += part[c];
            }
            for (int64_t c = 0; c < channels; c++) sums[c] = larger(sums[c], 0.0f);
            const int64_t row = group->offsets[at] + text;
            round_vector(sums, channels, space->window + row * channels, space->window_scales + row);
        }
    }
}

INLINE void score(const network_t *net, int level, const texts_t *texts, const group_t *group, uint8_t *states, space_t *space) {
    const int64_t columns = net->from_states.outputs, all = group->offsets[group->longest];
    const place_t place = {space->wide, columns, BLOCK, columns};
    int64_t at = 0;
    for (int64_t begin = 0; begin < all; begin += MOST) {
        const int64_t rows = all - begin < MOST ? all - begin : MOST;
        const vectors_t read = {states + 2 * begin * net->state, space->unit, 2 * net->state};
        multiply(level, &net->from_states, read, rows, place, 0);
        if (net->channels) {
            const vectors_t window = {space->window + begin * net->channels, space->window_scales + begin, net->channels};
            multiply(level, &net->from_window, window, rows, place, 1);
        }
        const float *wide = space->wide;
        for (int64_t row = begin; row < begin + rows; row++, wide += columns) {
            while (row == group->offsets[at + 1]) at++;
            const int64_t cell = group->numbers[row - group->offsets[at]] * texts->length + at;
            for (int64_t head = 0, column = 0; head < net->heads; column += net->tags[head], head++)
                if (texts->found[head])
                    memcpy(texts->found[head] + cell * net->tags[head], wide + column, sizeof(float) * net->tags[head]);
        }
    }
}

INLINE void read_group(const network_t *net, int level, const texts_t *texts, const group_t *group, space_t *space) {
    look_up(net, texts, group, space);
    if (net->channels) read_windows(net, level, group, space);
    vectors_t vectors = {space->read, space->read_scales, net->read};
    uint8_t *states = space->states[0];
    for (int64_t layer = 0; layer < net->layers; layer++) {
        states = space->states[layer % 2];
        for (int direction = 0; direction < 2; direction++)
            read_direction(net, level, net->lstm + layer, direction, group, vectors, states, space);
        vectors = (vectors_t){states, space->unit, 2 * net->state};
    }
    score(net, level, texts, group, states, space);
}

INLINE void *piece(char **memory, int64_t size) {
    void *found = *memory;
    *memory += (size + 63) / 64 * 64;
    return found;
}

/* Allocate the buffers for groups of up to so many characters. Padding columns are not initialised, because their weights are 0.
   Return the memory to be freed, or NULL if there is not enough. */
static void *reserve(const network_t *net, int64_t characters, int64_t longest, space_t *space) {
    const int64_t rows = characters + TILE, states = rows * 2 * net->state, seen = rows * net->channels;
    const int64_t gates = 4 * net->units, scores = net->from_states.outputs;
    const int64_t window = net->channels ? net->window.outputs : 0;
    int64_t vector = net->channels > net->read ? net->channels : net->read;
    int64_t wide = MOST * (gates > scores ? gates : scores);
    if (wide < longest * window) wide = longest * window;
    const int64_t sizes[] = {rows * net->read, rows * 4, states, states, rows * 4, seen, rows * 4,
                             (MOST + TILE) * net->read, (MOST + TILE) * 4, wide * 4, GROUP * net->units * 4, vector * 4};
    int64_t total = 64;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) total += (sizes[i] + 63) / 64 * 64;
    char *memory = malloc(total), *next = (char *)(((uintptr_t)memory + 63) / 64 * 64);
    if (memory == NULL) return NULL;
    space->read = piece(&next, sizes[0]), space->read_scales = piece(&next, sizes[1]);
    space->states[0] = piece(&next, sizes[2]), space->states[1] = piece(&next, sizes[3]);
    space->unit = piece(&next, sizes[4]);
    space->window = piece(&next, sizes[5]), space->window_scales = piece(&next, sizes[6]);
    space->some = piece(&next, sizes[7]), space->some_scales = piece(&next, sizes[8]);
    space->wide = piece(&next, sizes[9]), space->cells = piece(&next, sizes[10]), space->sums = piece(&next, sizes[11]);
    for (int64_t r = 0; r < rows; r++) space->unit[r] = 1.0f / 127.0f;
    return memory;
}

/* Form the group of texts from index `first` of the order on; fill its offsets, (longest + 1). */
INLINE group_t choose_group(const texts_t *texts, const int64_t *begins, int64_t first, int64_t *offsets) {
    group_t group = {.count = texts->chosen - first < GROUP ? texts->chosen - first : GROUP, .offsets = offsets};
    for (int64_t n = 0; n < group.count; n++) {
        const int64_t number = texts->order[first + n];
        group.numbers[n] = number, group.lengths[n] = texts->lengths[number], group.sources[n] = begins[number];
    }
    group.longest = group.lengths[0], offsets[0] = 0;
    for (int64_t at = 0, texts_there = group.count; at < group.longest; at++) {
        while (group.lengths[texts_there - 1] <= at) texts_there--;
        offsets[at + 1] = offsets[at] + texts_there;
    }
    return group;
}

INLINE int tag_scores(const network_t *net, int level, const texts_t *texts) {
    int64_t most = 0;
    for (int64_t first = 0; first < texts->chosen; first += GROUP) {
        int64_t characters = 0;
        for (int64_t n = first; n < texts->chosen && n < first + GROUP; n++) characters += texts->lengths[texts->order[n]];
        most = characters > most ? characters : most;
    }
    const int64_t longest = texts->chosen ? texts->lengths[texts->order[0]] : 0;
    int64_t *begins = malloc(sizeof(int64_t) * (texts->texts + 1 + longest + 1)), *offsets = begins + texts->texts + 1;
    space_t space;
    void *memory = begins == NULL ? NULL : reserve(net, most, longest, &space);
    if (memory != NULL) {
        begins[0] = 0;
        for (int64_t n = 0; n < texts->texts; n++) begins[n + 1] = begins[n] + texts->lengths[n];
        for (int64_t first = 0; first < texts->chosen; first += GROUP) {
            const group_t group = choose_group(texts, begins, first, offsets);
            read_group(net, level, texts, &group, &space);
        }
    }
    free(memory), free(begins);
    return memory == NULL;
}

#if HAS_VECTORS
TARGET_VNNI static int vnni_tag_scores(const network_t *net, const texts_t *texts) {
    if (net->level == AMX) shape_tiles();
    const int failed = tag_scores(net, (int)net->level, texts);
    if (net->level == AMX) release_tiles();
    return failed;
}

TARGET_AVX2 static int avx2_tag_scores(const network_t *net, const texts_t *texts) { return tag_scores(net, AVX2, texts); }
#endif

/* Compute the emission scores of texts. Return 0, or 1 if there is not enough memory. */
EXPORT int zhseq_tag_scores(const network_t *net, const texts_t *texts) {
#if HAS_VECTORS
    if (net->level >= VNNI) return vnni_tag_scores(net, texts);
    if (net->level == AVX2) return avx2_tag_scores(net, texts);
#endif
    return tag_scores(net, PLAIN, texts);
}

#if HAS_VECTORS
static int allowed_tiles(void) { return syscall(SYS_arch_prctl, 0x1023 /* ARCH_REQ_XCOMP_PERM */, 18L) == 0; }

static int has_amx(void) {
    unsigned a, b, c, d;
    __asm__ volatile("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(7), "c"(0));
    return (d >> 24 & 1) && (d >> 25 & 1) && allowed_tiles();
}
#endif

/* Return the best level that this CPU supports. */
EXPORT int zhseq_level(void) {
#if HAS_VECTORS
    __builtin_cpu_init();
    const int vnni = __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
    const int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    return vnni && has_amx() ? AMX : vnni ? VNNI : avx2 ? AVX2 : PLAIN;
#else
    return PLAIN;
#endif
}
