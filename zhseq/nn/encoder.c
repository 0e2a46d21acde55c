/* The network of a tagger with weights of 8 bits: vectors of characters, a BiLSTM and a window CNN side by side, and the
   scores of tags. Called by zhseq/tagging/native.py alone, with arrays that it has checked: C order, the types below, sizes
   that fit.

   What weights are multiplied with is rounded to 8 bits likewise, each vector by its own greatest number, so that a text
   is read alike whatever is read beside it.

   Texts are read in groups: the first characters of all, then the second ones, and so on, the longest texts first. So those that
   go through a step of the LSTM side by side lie side by side.

   All is compiled once for each kind of instructions, and finds the same with all: products are summed without rounding, and
   what is multiplied and added in one step (fmaf) is so everywhere, by instructions or by the library of C. */

#define _DEFAULT_SOURCE /* syscall */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "portable.h"
#include "products.h"

#define GROUP 32 /* texts that are read side by side */
#define MOST 64  /* vectors that are multiplied with a matrix at once, at most */

typedef struct {
    int64_t dim;
    const float *rows; /* (rows, dim) */
} table_t;

typedef struct {
    matrix_t inputs[2];    /* for each direction, to its gates: input, forget, cell, output of LANES units, then of the next */
    matrix_t recurrent[2]; /* from its own state of the step before */
} layer_t;

typedef struct {
    int64_t level;  /* of the instructions */
    int64_t read;   /* numbers in the vector of a character, filled up to a multiple of BLOCK */
    int64_t slots;  /* words that a character may have in each of its sets */
    int64_t units;  /* of a direction, filled up to a multiple of LANES */
    int64_t state;  /* of a direction, filled up to a multiple of BLOCK */
    int64_t layers; /* of the LSTM */
    int64_t channels, width; /* of the CNN, 0 channels for none; filled up to a multiple of BLOCK */
    int64_t heads;
    const layer_t *lstm;     /* (layers) */
    const int64_t *tags;     /* (heads): columns of the scores, head after head */
    table_t characters, bigrams, words; /* of 0 numbers where there are none */
    matrix_t window;          /* (read) to (width * channels), a part for each place of the window */
    const float *window_bias; /* (channels) */
    matrix_t from_states;     /* to the scores, from the states of the last layer */
    matrix_t from_window;     /* to the scores, from the CNN */
} network_t;

typedef struct {
    int64_t texts, length;       /* the padded length of the scores */
    const int64_t *lengths;      /* (texts) */
    int64_t chosen;
    const int64_t *order;        /* (chosen): those that are read, the longest first */
    const int32_t *characters;   /* (characters of all texts): rows of tables, as all that follows */
    const int32_t *bigrams;
    const int32_t *words;        /* (characters, 4 * slots) */
    const float *shares;         /* (characters, 4 * slots) */
    float *const *found;         /* (heads): (texts, length, tags), or NULL */
} texts_t;

INLINE float larger(float a, float b) { return a > b ? a : b; }
INLINE float smaller(float a, float b) { return a < b ? a : b; }

/* ---- Vectors in 8 bits. ---- */

#define SHIFT 12582912.0f /* added to a float, it rounds it to a whole number, and leaves this in the last bits */

typedef union {
    float value;
    int32_t bits;
} float_bits_t;

/* Round to a whole number, in the form of a vector of 8 bits: 128 more. */
INLINE uint8_t rounded(float value, float factor) {
    const float_bits_t found = {fmaf(value, factor, SHIFT + 128.0f)};
    return (uint8_t)found.bits;
}

INLINE void round_vector(const float *values, int64_t size, uint8_t *found, float *scale) {
    float most = 1e-30f;
#pragma omp simd reduction(max : most)
    for (int64_t i = 0; i < size; i++) most = larger(fabsf(values[i]), most);
    const float factor = 127.0f / most;
    for (int64_t i = 0; i < size; i++) found[i] = rounded(values[i], factor);
    *scale = most / 127.0f;
}

/* Where products of rows with columns are put: BLOCK of columns lie together. */
typedef struct {
    float *numbers;
    int64_t row, block; /* from one row to the next, from one BLOCK to the next */
} place_t;

/* Write the products of some rows with a matrix to a place, or add them there. */
INLINE void multiply(int level, const matrix_t *matrix, vectors_t rows, int64_t count, place_t place, const int add) {
    int32_t acc[2][TILE * BLOCK];
    tile_t tile = first_tile(matrix, count), last = {0, 0, 0, 0};
    for (int turn = 0; tile.count || last.count; turn = !turn) { /* while a tile is multiplied, the last sums become numbers */
        if (tile.count) multiply_tile(level, matrix, tile, rows, acc[turn]);
        const float *scales = matrix->scales + last.column, *bias = matrix->bias + last.column;
        for (int r = 0; r < last.count; r++) {
            const int64_t row = last.first + r;
            const float scale = rows.scales[row];
            const int32_t *sums = acc[!turn] + r * last.width;
            float *found = place.numbers + row * place.row + last.column / BLOCK * place.block + last.column % BLOCK;
            for (int first = 0; first < last.width; first += LANES)
#pragma omp simd
                for (int c = first; c < first + LANES; c++)
                    found[c] = (float)sums[c] * (scales[c] * scale) + (add ? found[c] : bias[c]);
        }
        last = tile, tile = next_tile(matrix, count, tile);
    }
}

/* ---- The LSTM. ---- */

/* e to the power of x times factor, which is taken for one of 25 where it is more: products of three such powers are floats. */
INLINE float power(float x, const float factor) {
    const float scale = factor * 1.44269504f, most = 25.0f / (factor < 0.0f ? -factor : factor);
    x = larger(smaller(x, most), -most);
    float_bits_t whole = {fmaf(x, scale, SHIFT)};
    const float part = fmaf(x, scale, SHIFT - whole.value);
    float_bits_t found = {fmaf(part, 1.3276472e-3f, 9.6755413e-3f)}; /* 2 to the power of part, by the closest polynomial */
    found.value = fmaf(part, found.value, 5.5507133e-2f);
    found.value = fmaf(part, found.value, 2.4022120e-1f);
    found.value = fmaf(part, found.value, 6.9314697e-1f);
    found.value = fmaf(part, found.value, 1.0000001f);
    found.bits += (int32_t)((uint32_t)whole.bits << 23); /* to its exponent */
    return found.value;
}

/* One step of LANES units: their gates change their cells and give their states. */
INLINE void step_units(const float *gates, float *cells, uint8_t *states) {
    int32_t found[LANES];
#pragma omp simd
    for (int u = 0; u < LANES; u++) {
        const float input = 1.0f + power(gates[u], -1.0f), forget = 1.0f + power(gates[LANES + u], -1.0f);
        const float fresh = power(gates[2 * LANES + u], -2.0f), output = 1.0f + power(gates[3 * LANES + u], -1.0f);
        const float both = fmaf(input, fresh, input); /* one division for the three of sigmoids and of a tangent */
        const float now = fmaf(cells[u], both, fmaf(-fresh, forget, forget)) / (forget * both);
        const float squeezed = power(now, -2.0f);
        const float state = fmaf(-127.0f, squeezed, 127.0f) / fmaf(output, squeezed, output);
        const float_bits_t number = {state + (SHIFT + 128.0f)};
        cells[u] = now, found[u] = number.bits;
    }
    for (int u = 0; u < LANES; u++) states[u] = (uint8_t)found[u];
}

/* One step of some texts. */
typedef struct {
    int64_t texts, known;   /* those that have a state of the step before are the first ones */
    const float *gates;     /* what comes from the vectors that are read: (units / LANES, rows, BLOCK) */
    int64_t rows;
    vectors_t before;       /* states of the step before */
    uint8_t *states;        /* of this one, as far from text to text as before */
    float *cells;           /* (units / LANES, GROUP, LANES) */
} step_t;

/* Take a step: while a tile of the states before is multiplied, the sums of the last one become states. */
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

/* ---- The network. ---- */

/* What a group is computed in. Rows are characters: those at the first place of all texts, at the second, ... */
typedef struct {
    uint8_t *read;         /* (characters, read): vectors of characters */
    float *read_scales;    /* (characters) */
    uint8_t *states[2];    /* (characters, 2 * state): of the layer below, and of this one */
    float *unit;           /* (characters): 1 / 127, the scale of states */
    uint8_t *window;       /* (characters, channels): what the CNN found */
    float *window_scales;  /* (characters) */
    uint8_t *some;         /* (MOST, read): the vectors of one text */
    float *some_scales;    /* (MOST) */
    float *wide;           /* (most rows, most outputs) */
    float *cells;          /* (units / LANES, GROUP, LANES) */
    float *sums;           /* (the greatest of all sizes of a vector) */
} space_t;

typedef struct {
    int64_t count, longest;
    const int64_t *offsets; /* (longest + 1): where the rows of each place begin */
    int64_t lengths[GROUP], sources[GROUP], numbers[GROUP]; /* sources: of their characters in texts_t */
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

/* Read a group in one direction, from vectors, (characters, inputs), into states. */
INLINE void read_direction(const network_t *net, int level, const layer_t *layer, int direction, const group_t *group,
                           vectors_t vectors, uint8_t *states, space_t *space) {
    const matrix_t *inputs = layer->inputs + direction, *recurrent = layer->recurrent + direction;
    const int64_t *offsets = group->offsets, stride = 2 * net->state, longest = group->longest;
    uint8_t *own = states + direction * net->state;
    memset(space->cells, 0, sizeof(float) * GROUP * net->units);
    step_t step = {.known = 0, .before = {NULL, NULL, stride}, .cells = space->cells};
    for (int64_t done = 0; done < longest;) {
        int64_t begin = direction ? longest - done - 1 : done, end = begin + 1; /* places that are read at once */
        while (direction && begin > 0 && offsets[end] - offsets[begin - 1] <= MOST) begin--;
        while (!direction && end < longest && offsets[end + 1] - offsets[begin] <= MOST) end++;
        step.rows = offsets[end] - offsets[begin];
        const vectors_t slab = {vectors.values + offsets[begin] * vectors.stride, vectors.scales + offsets[begin], vectors.stride};
        multiply(level, inputs, slab, step.rows, (place_t){space->wide, BLOCK, step.rows * BLOCK}, 0);
        for (int64_t n = 0; n < end - begin; n++, done++) {
            const int64_t at = direction ? end - 1 - n : begin + n;
            step.texts = offsets[at + 1] - offsets[at];
            if (step.known > step.texts) step.known = step.texts; /* the others have ended */
            step.gates = space->wide + (offsets[at] - offsets[begin]) * BLOCK;
            step.states = own + offsets[at] * stride;
            take_step(level, recurrent, &step);
            step.before.values = step.states, step.known = step.texts;
        }
    }
}

/* Let the window CNN read a group, text by text. */
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
            multiply(level, &net->window, some, rows, (place_t){space->wide + first * columns, columns, BLOCK}, 0);
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
    const place_t place = {space->wide, columns, BLOCK};
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

/* Reserve what a group of so many characters is computed in; what is filled up is multiplied with weights of 0, and may be
   anything. Returns what is to be freed, NULL for want of memory. */
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

/* Choose the texts from the one of this rank on. offsets: (longest + 1). */
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

/* Score the tags of texts. Returns 0, or 1 for want of memory. */
EXPORT int zhseq_tag_scores(const network_t *net, const texts_t *texts) {
#if HAS_VECTORS
    if (net->level >= VNNI) return vnni_tag_scores(net, texts);
    if (net->level == AVX2) return avx2_tag_scores(net, texts);
#endif
    return tag_scores(net, PLAIN, texts);
}

/* The best of the levels that this processor has. */
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
