/* The network of a tagger with weights of 8 bits: vectors of characters, a BiLSTM and a window CNN side by side, and the
   scores of tags. Called by zhseq/tagging/native.py alone, with arrays that it has checked: C order, the types below, sizes
   that fit.

   What weights are multiplied with is rounded to 8 bits likewise, each vector by its own greatest number, so that a text
   is read alike whatever is read beside it. For what the scores are summed of, what rounding lost is rounded and multiplied
   once more, in steps that are FINER times as small. Products are summed without rounding, by whatever instructions the processor
   has. Texts are read in groups; a group goes through its steps side by side, the longest texts first. */

#define _DEFAULT_SOURCE /* syscall */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "portable.h"

#define BLOCK 64 /* columns that are computed together, and the multiple that sizes are filled up to */
#define GROUP 32 /* texts that are read side by side */
#define SLAB 64  /* at least so many vectors are multiplied with a matrix at once, where there are so many */
#define TILE 16  /* rows that are computed together */
#define FINER 254
#define MOST (SLAB > GROUP ? SLAB : GROUP)

enum { PLAIN, AVX2, VNNI, AMX }; /* instructions that products are computed with */

/* The structures are made of 64-bit words. */
typedef struct {
    int64_t inputs, outputs; /* multiples of BLOCK */
    const uint8_t *weights;  /* (outputs / BLOCK, inputs / 4, BLOCK, 4): whole numbers from -127 to 127, and 128 more */
    const float *scales;     /* (outputs): what they are multiples of */
    const float *bias;       /* (outputs) */
} matrix_t;

typedef struct {
    int64_t dim;
    const float *rows; /* (rows, dim) */
} table_t;

typedef struct {
    matrix_t inputs[2];    /* for each direction, to its gates: input, forget, cell, output, (4 * units) */
    matrix_t recurrent[2]; /* from its own state of the step before */
} layer_t;

typedef struct {
    int64_t level;  /* of the instructions */
    int64_t read;   /* numbers in the vector of a character, filled up to a multiple of BLOCK */
    int64_t slots;  /* words that a character may have in each of its sets */
    int64_t units;  /* of a direction, filled up to a multiple of TILE */
    int64_t state;  /* of a direction, filled up to a multiple of BLOCK */
    int64_t layers; /* of the LSTM */
    int64_t channels, width; /* of the CNN, 0 channels for none; filled up to a multiple of BLOCK */
    int64_t heads;
    const layer_t *lstm;     /* (layers) */
    const int64_t *tags;     /* (heads): columns of the scores, head after head */
    table_t characters, bigrams, words; /* of 0 numbers where there are none */
    matrix_t window[2];       /* (read) to (width * channels), a part for each place of the window; what rounding lost */
    const float *window_bias; /* (channels) */
    matrix_t from_states[2];  /* to the scores, from the states of the last layer; what rounding lost */
    matrix_t from_window[2];  /* from the CNN, likewise */
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

/* ---- Products: acc, (TILE, BLOCK), of up to TILE rows with one block of columns. Those from VNNI on multiply with weights
   that are 128 too large. ---- */

static void plain_product(const uint8_t *weights, int64_t inputs, const int8_t *rows, int count, int32_t *acc) {
    memset(acc, 0, sizeof(int32_t) * BLOCK * count);
    for (int r = 0; r < count; r++)
        for (int64_t k = 0; k < inputs; k += 4) {
            const uint8_t *block = weights + k * BLOCK;
            const int8_t *row = rows + r * inputs + k;
            for (int c = 0; c < BLOCK; c++)
                for (int j = 0; j < 4; j++) acc[r * BLOCK + c] += ((int)block[4 * c + j] - 128) * (int)row[j];
        }
}

#if HAS_VECTORS
/* Whole numbers that fit 8 bits with their sign have products of pairs that fit 16 bits. */
__attribute__((target("avx2"))) static void avx2_product(const uint8_t *weights, int64_t inputs, const int8_t *rows, int count,
                                                         int32_t *acc) {
    const __m256i shift = _mm256_set1_epi8(-128), ones = _mm256_set1_epi16(1);
    for (int c = 0; c < BLOCK; c += 16)
        for (int r = 0; r < count; r += 2) {
            const int8_t *first = rows + r * inputs, *second = r + 1 < count ? first + inputs : first;
            __m256i sums[4] = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256()};
            for (int64_t k = 0; k < inputs; k += 4) {
                int32_t four[2];
                memcpy(four, first + k, 4), memcpy(four + 1, second + k, 4);
                const __m256i a = _mm256_set1_epi32(four[0]), b = _mm256_set1_epi32(four[1]);
                const __m256i size_a = _mm256_abs_epi8(a), size_b = _mm256_abs_epi8(b);
                for (int half = 0; half < 2; half++) {
                    const __m256i w = _mm256_xor_si256(
                        _mm256_loadu_si256((const __m256i *)(weights + k * BLOCK + 4 * c + 32 * half)), shift);
                    const __m256i p = _mm256_maddubs_epi16(size_a, _mm256_sign_epi8(w, a));
                    const __m256i q = _mm256_maddubs_epi16(size_b, _mm256_sign_epi8(w, b));
                    sums[half] = _mm256_add_epi32(sums[half], _mm256_madd_epi16(p, ones));
                    sums[2 + half] = _mm256_add_epi32(sums[2 + half], _mm256_madd_epi16(q, ones));
                }
            }
            for (int half = 0; half < 2; half++) {
                _mm256_storeu_si256((__m256i *)(acc + r * BLOCK + c + 8 * half), sums[half]);
                if (r + 1 < count) _mm256_storeu_si256((__m256i *)(acc + (r + 1) * BLOCK + c + 8 * half), sums[2 + half]);
            }
        }
}

#define TARGET_VNNI __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))

TARGET_VNNI static inline __attribute__((always_inline)) void vnni_rows(const uint8_t *weights, int64_t inputs, const int8_t *rows,
                                                                        const int count, int32_t *acc) {
    __m512i sums[6][4];
#pragma GCC unroll 6
    for (int r = 0; r < count; r++) {
#pragma GCC unroll 4
        for (int c = 0; c < 4; c++) sums[r][c] = _mm512_setzero_si512();
    }
    for (int64_t k = 0; k < inputs; k += 4) {
        const uint8_t *block = weights + k * BLOCK;
        const __m512i w0 = _mm512_loadu_si512(block), w1 = _mm512_loadu_si512(block + 64);
        const __m512i w2 = _mm512_loadu_si512(block + 128), w3 = _mm512_loadu_si512(block + 192);
#pragma GCC unroll 6
        for (int r = 0; r < count; r++) {
            int32_t four;
            memcpy(&four, rows + r * inputs + k, 4);
            const __m512i a = _mm512_set1_epi32(four);
            sums[r][0] = _mm512_dpbusd_epi32(sums[r][0], w0, a), sums[r][1] = _mm512_dpbusd_epi32(sums[r][1], w1, a);
            sums[r][2] = _mm512_dpbusd_epi32(sums[r][2], w2, a), sums[r][3] = _mm512_dpbusd_epi32(sums[r][3], w3, a);
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < count; r++)
#pragma GCC unroll 4
        for (int c = 0; c < 4; c++) _mm512_storeu_si512(acc + r * BLOCK + 16 * c, sums[r][c]);
}

/* Of one row with two blocks of columns, (2 * BLOCK): twice as many sums, which do not wait for each other. */
TARGET_VNNI static void vnni_vector(const uint8_t *weights, int64_t inputs, const int8_t *row, int32_t *acc) {
    __m512i sums[8];
#pragma GCC unroll 8
    for (int c = 0; c < 8; c++) sums[c] = _mm512_setzero_si512();
    for (int64_t k = 0; k < inputs; k += 4) {
        const uint8_t *first = weights + k * BLOCK, *second = first + inputs * BLOCK;
        int32_t four;
        memcpy(&four, row + k, 4);
        const __m512i a = _mm512_set1_epi32(four);
#pragma GCC unroll 4
        for (int c = 0; c < 4; c++) {
            sums[c] = _mm512_dpbusd_epi32(sums[c], _mm512_loadu_si512(first + 64 * c), a);
            sums[4 + c] = _mm512_dpbusd_epi32(sums[4 + c], _mm512_loadu_si512(second + 64 * c), a);
        }
    }
#pragma GCC unroll 8
    for (int c = 0; c < 8; c++) _mm512_storeu_si512(acc + 16 * c, sums[c]);
}

TARGET_VNNI static void vnni_product(const uint8_t *weights, int64_t inputs, const int8_t *rows, int count, int32_t *acc) {
    for (; count >= 6; count -= 6, rows += 6 * inputs, acc += 6 * BLOCK) vnni_rows(weights, inputs, rows, 6, acc);
    switch (count) {
    case 5: vnni_rows(weights, inputs, rows, 5, acc); break;
    case 4: vnni_rows(weights, inputs, rows, 4, acc); break;
    case 3: vnni_rows(weights, inputs, rows, 3, acc); break;
    case 2: vnni_rows(weights, inputs, rows, 2, acc); break;
    case 1: vnni_rows(weights, inputs, rows, 1, acc); break;
    default: break;
    }
}

/* What 128 more in each weight adds to the products of some rows. */
TARGET_VNNI static void vnni_surplus(const int8_t *rows, int64_t inputs, int64_t count, int32_t *found) {
    const __m512i more = _mm512_set1_epi8(-128); /* 128 without a sign */
    for (int64_t r = 0; r < count; r++) {
        __m512i sum = _mm512_setzero_si512();
        for (int64_t k = 0; k < inputs; k += BLOCK)
            sum = _mm512_dpbusd_epi32(sum, more, _mm512_loadu_si512(rows + r * inputs + k));
        found[r] = _mm512_reduce_add_epi32(sum);
    }
}

#define AMX_ROWS 4 /* fewer are quicker without */

static const struct {
    uint8_t palette, start, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
} eight_tiles = {1, 0, {0}, {64, 64, 64, 64, 64, 64, 64, 64}, {TILE, TILE, TILE, TILE, TILE, TILE, TILE, TILE}};

__attribute__((target("amx-tile"))) static void shape_tiles(void) { _tile_loadconfig(&eight_tiles); }

__attribute__((target("amx-tile"))) static void release_tiles(void) { _tile_release(); }

__attribute__((target("amx-tile,amx-int8"))) static void amx_product(const uint8_t *weights, int64_t inputs, const int8_t *rows,
                                                                     int32_t *acc) {
    _tile_zero(0); _tile_zero(1); _tile_zero(2); _tile_zero(3);
    for (int64_t k = 0; k < inputs; k += 64) {
        const uint8_t *block = weights + k * BLOCK;
        _tile_loadd(4, rows + k, inputs);
        _tile_loadd(5, block, 4 * BLOCK); _tile_dpbsud(0, 4, 5);
        _tile_loadd(6, block + 64, 4 * BLOCK); _tile_dpbsud(1, 4, 6);
        _tile_loadd(7, block + 128, 4 * BLOCK); _tile_dpbsud(2, 4, 7);
        _tile_loadd(5, block + 192, 4 * BLOCK); _tile_dpbsud(3, 4, 5);
    }
    _tile_stored(0, acc, 4 * BLOCK); _tile_stored(1, acc + 16, 4 * BLOCK);
    _tile_stored(2, acc + 32, 4 * BLOCK); _tile_stored(3, acc + 48, 4 * BLOCK);
}

static int allowed_tiles(void) { return syscall(SYS_arch_prctl, 0x1023 /* ARCH_REQ_XCOMP_PERM */, 18L) == 0; }

static int has_amx(void) {
    unsigned a, b, c, d;
    __asm__ volatile("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(7), "c"(0));
    return (d >> 24 & 1) && (d >> 25 & 1) && allowed_tiles();
}
#endif

/* The best of the levels that this processor has. */
EXPORT int zhseq_level(void) {
#if HAS_VECTORS
    __builtin_cpu_init();
    const int vnni = __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
    return vnni && has_amx() ? AMX : vnni ? VNNI : __builtin_cpu_supports("avx2") ? AVX2 : PLAIN;
#else
    return PLAIN;
#endif
}

/* ---- Vectors in 8 bits. ---- */

/* Some vectors: whole numbers, and for each what they are multiples of. Rows up to a multiple of TILE may be read. */
typedef struct {
    int8_t *values; /* (rows, inputs) */
    float *scales;  /* (rows) */
} vectors_t;

INLINE float rounded(float value) { return (value + 12582912.0f) - 12582912.0f; } /* to the nearest whole number */

/* Round a vector, and what rounding lost if fine is not NULL. */
INLINE void round_vector(const float *values, int64_t size, int8_t *found, int8_t *fine, float *scale) {
    float most = 1e-30f;
#pragma omp simd reduction(max : most)
    for (int64_t i = 0; i < size; i++) most = larger(fabsf(values[i]), most);
    const float factor = 127.0f / most;
    for (int64_t i = 0; i < size; i++) found[i] = (int8_t)(int32_t)rounded(values[i] * factor);
    for (int64_t i = 0; fine != NULL && i < size; i++)
        fine[i] = (int8_t)(int32_t)rounded((values[i] * factor - rounded(values[i] * factor)) * FINER);
    *scale = most / 127.0f;
}

/* Turn sums of a row into numbers, or add these to what is there. */
INLINE void scale_sums(const int32_t *sums, int32_t surplus, float scale, const matrix_t *matrix, int64_t column, int64_t count,
                       float *found, const int add) {
    const float *scales = matrix->scales + column, *bias = matrix->bias + column;
    if (add)
        for (int64_t c = 0; c < count; c++) found[c] += (float)(sums[c] - surplus) * (scales[c] * scale);
    else
        for (int64_t c = 0; c < count; c++) found[c] = (float)(sums[c] - surplus) * (scales[c] * scale) + bias[c];
}

/* Put the products of up to MOST rows, each times factor, with a matrix into found, (rows, outputs), or add them there. */
INLINE void multiply(int64_t level, const matrix_t *matrix, vectors_t rows, float factor, int64_t count, float *found,
                     const int add) {
    const int64_t inputs = matrix->inputs, outputs = matrix->outputs;
    int32_t acc[2][TILE * BLOCK], surplus[MOST] = {0};
    int64_t column = 0;
#if HAS_VECTORS
    if (level >= VNNI) vnni_surplus(rows.values, inputs, count, surplus);
    for (; level >= VNNI && count == 1 && column + 2 * BLOCK <= outputs; column += 2 * BLOCK) {
        vnni_vector(matrix->weights + column * inputs, inputs, rows.values, acc[0]);
        scale_sums(acc[0], surplus[0], factor * rows.scales[0], matrix, column, 2 * BLOCK, found + column, add);
    }
#endif
    struct {
        int64_t column, first;
        int count;
    } tile, last = {0, 0, 0}; /* while a tile is multiplied, the sums of the last one become numbers */
    for (int turn = 0; column < outputs || last.count; turn = !turn, last = tile) {
        tile.count = 0;
        if (column < outputs) {
            const uint8_t *weights = matrix->weights + column * inputs;
            tile.column = column, tile.first = last.count && last.column == column ? last.first + TILE : 0;
            tile.count = count - tile.first < TILE ? (int)(count - tile.first) : TILE;
            const int8_t *values = rows.values + tile.first * inputs;
#if HAS_VECTORS
            if (level == AMX && tile.count >= AMX_ROWS)
                amx_product(weights, inputs, values, acc[turn]);
            else if (level >= VNNI)
                vnni_product(weights, inputs, values, tile.count, acc[turn]);
            else if (level == AVX2)
                avx2_product(weights, inputs, values, tile.count, acc[turn]);
            else
#endif
                plain_product(weights, inputs, values, tile.count, acc[turn]);
            if (tile.first + TILE >= count) column += BLOCK;
        }
        for (int r = 0; r < last.count; r++)
            scale_sums(acc[!turn] + r * BLOCK, surplus[last.first + r], factor * rows.scales[last.first + r], matrix, last.column,
                       BLOCK, found + (last.first + r) * outputs + last.column, add);
    }
}

/* ---- The network. ---- */

INLINE float exponential(float x) {
    x = larger(smaller(x, 40.0f), -40.0f) * 1.44269504f;
    const float whole = rounded(x), part = x - whole;
    float power = 1.3333558e-3f + part * 1.5403530e-4f; /* 2 to the power of part, by its series */
    power = 9.6181291e-3f + part * power;
    power = 5.5504109e-2f + part * power;
    power = 2.4022651e-1f + part * power;
    power = 6.9314718e-1f + part * power;
    power = 1.0f + part * power;
    union {
        int32_t bits;
        float value;
    } scale = {((int32_t)whole + 127) << 23};
    return power * scale.value;
}

/* One step of an LSTM for one text: its gates, (4, units), change its cell, (units), and give its state. found: (units). */
INLINE void lstm_step(const float *gates, int64_t units, float *cell, float *found, int8_t *state, int8_t *fine) {
#pragma omp simd
    for (int64_t u = 0; u < units; u++) {
        const float input = exponential(-gates[u]), forget = exponential(-gates[units + u]);
        const float fresh = exponential(-2.0f * gates[2 * units + u]), output = exponential(-gates[3 * units + u]);
        const float now = cell[u] / (1.0f + forget) + (1.0f - fresh) / ((1.0f + input) * (1.0f + fresh));
        const float squeezed = exponential(-2.0f * now);
        cell[u] = now;
        found[u] = 127.0f * (1.0f - squeezed) / ((1.0f + output) * (1.0f + squeezed));
    }
    for (int64_t u = 0; u < units; u++) state[u] = (int8_t)(int32_t)rounded(found[u]);
    for (int64_t u = 0; u < units; u++) fine[u] = (int8_t)(int32_t)rounded((found[u] - rounded(found[u])) * FINER);
}

#if HAS_VECTORS
TARGET_VNNI static inline __attribute__((always_inline)) __m512 exponential_16(__m512 x) {
    x = _mm512_max_ps(_mm512_min_ps(x, _mm512_set1_ps(40.0f)), _mm512_set1_ps(-40.0f));
    x = _mm512_mul_ps(x, _mm512_set1_ps(1.44269504f));
    const __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC), part = _mm512_sub_ps(x, whole);
    static const float factors[] = {9.6181291e-3f, 5.5504109e-2f, 2.4022651e-1f, 6.9314718e-1f, 1.0f};
    __m512 power = _mm512_add_ps(_mm512_set1_ps(1.3333558e-3f), _mm512_mul_ps(part, _mm512_set1_ps(1.5403530e-4f)));
#pragma GCC unroll 5
    for (int i = 0; i < 5; i++) power = _mm512_add_ps(_mm512_set1_ps(factors[i]), _mm512_mul_ps(part, power));
    return _mm512_scalef_ps(power, whole);
}

/* The same as lstm_step, bit by bit. */
TARGET_VNNI static void vnni_lstm_step(const float *gates, int64_t units, float *cell, int8_t *state, int8_t *fine) {
    const __m512 one = _mm512_set1_ps(1.0f), minus = _mm512_set1_ps(-1.0f), double_minus = _mm512_set1_ps(-2.0f);
    for (int64_t u = 0; u < units; u += 16) {
        const __m512 input = _mm512_add_ps(one, exponential_16(_mm512_mul_ps(minus, _mm512_loadu_ps(gates + u))));
        const __m512 forget = _mm512_add_ps(one, exponential_16(_mm512_mul_ps(minus, _mm512_loadu_ps(gates + units + u))));
        const __m512 fresh = exponential_16(_mm512_mul_ps(double_minus, _mm512_loadu_ps(gates + 2 * units + u)));
        const __m512 output = _mm512_add_ps(one, exponential_16(_mm512_mul_ps(minus, _mm512_loadu_ps(gates + 3 * units + u))));
        const __m512 kept = _mm512_div_ps(_mm512_loadu_ps(cell + u), forget);
        const __m512 now =
            _mm512_add_ps(kept, _mm512_div_ps(_mm512_sub_ps(one, fresh), _mm512_mul_ps(input, _mm512_add_ps(one, fresh))));
        const __m512 squeezed = exponential_16(_mm512_mul_ps(double_minus, now));
        const __m512 most = _mm512_mul_ps(_mm512_set1_ps(127.0f), _mm512_sub_ps(one, squeezed));
        const __m512 found = _mm512_div_ps(most, _mm512_mul_ps(output, _mm512_add_ps(one, squeezed)));
        const __m512 whole = _mm512_roundscale_ps(found, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        const __m512 lost = _mm512_mul_ps(_mm512_sub_ps(found, whole), _mm512_set1_ps(FINER));
        _mm512_storeu_ps(cell + u, now);
        _mm_storeu_si128((__m128i *)(state + u), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(whole)));
        _mm_storeu_si128((__m128i *)(fine + u), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(lost)));
    }
}
#endif

/* What a group is computed in. */
typedef struct {
    vectors_t read;    /* (characters, read), and once more for the states below the last layer */
    int8_t *states[2]; /* (characters, 2 * state): of the layer below, and of this one */
    int8_t *fine_states; /* (characters, 2 * state): what rounding of the states lost */
    vectors_t window;  /* (characters, channels) */
    int8_t *fine_window; /* likewise */
    vectors_t slab;    /* (MOST, inputs) */
    vectors_t before;  /* (GROUP, state) */
    float *wide;       /* (most rows, most outputs) */
    float *cells;      /* (GROUP, units) */
    float *unit;       /* (most rows): 1 / 127, the scale of states */
    float *sums;       /* (the greatest of all sizes of a vector) */
} space_t;

typedef struct {
    int64_t count, characters;
    int64_t lengths[GROUP], begins[GROUP], sources[GROUP], numbers[GROUP]; /* sources: of their characters in texts_t */
} group_t;

INLINE void look_up(const network_t *net, const texts_t *texts, const group_t *group, space_t *space) {
    float *vector = space->sums;
    const int64_t wide = net->words.dim, dim = net->characters.dim, pair = net->bigrams.dim;
    const int64_t used = dim + pair + 4 * wide;
    for (int64_t text = 0; text < group->count; text++)
        for (int64_t at = 0; at < group->lengths[text]; at++) {
            const int64_t source = group->sources[text] + at, row = group->begins[text] + at;
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
            round_vector(vector, used, space->read.values + row * net->read, NULL, space->read.scales + row);
            memset(space->read.values + row * net->read + used, 0, net->read - used);
        }
}

/* Read a group in one direction, from vectors, (characters, inputs), into states. */
INLINE void read_direction(const network_t *net, const layer_t *layer, int direction, const group_t *group, vectors_t vectors,
                           int8_t *states, space_t *space) {
    const matrix_t *inputs = layer->inputs + direction, *recurrent = layer->recurrent + direction;
    const int64_t gates = inputs->outputs, units = net->units, state = net->state;
    memset(space->cells, 0, sizeof(float) * GROUP * units);
    memset(space->before.values, 0, GROUP * state);
    int64_t active = group->count;
    for (int64_t step = 0; step < group->lengths[0];) {
        int64_t rows = 0, steps = 0, counts[SLAB];
        for (; step + steps < group->lengths[0]; steps++) { /* a slab: what the next steps read */
            while (group->lengths[active - 1] <= step + steps) active--;
            if (steps == SLAB || (steps && rows + active > MOST)) break;
            for (int64_t text = 0; text < active; text++, rows++) {
                const int64_t at = direction ? group->lengths[text] - 1 - step - steps : step + steps;
                const int64_t source = group->begins[text] + at;
                memcpy(space->slab.values + rows * inputs->inputs, vectors.values + source * inputs->inputs, inputs->inputs);
                space->slab.scales[rows] = vectors.scales[source];
            }
            counts[steps] = active;
        }
        multiply(net->level, inputs, space->slab, 1.0f, rows, space->wide, 0);
        float *wide = space->wide;
        for (int64_t s = 0; s < steps; s++, step++) {
            const vectors_t before = {space->before.values, space->unit};
            if (step) multiply(net->level, recurrent, before, 1.0f, counts[s], wide, 1);
            for (int64_t text = 0; text < counts[s]; text++, wide += gates) {
                const int64_t at = direction ? group->lengths[text] - 1 - step : step;
                int8_t *now = space->before.values + text * state;
                const int64_t place = (2 * (group->begins[text] + at) + direction) * state;
#if HAS_VECTORS
                if (net->level >= VNNI)
                    vnni_lstm_step(wide, units, space->cells + text * units, now, space->fine_states + place);
                else
#endif
                    lstm_step(wide, units, space->cells + text * units, space->sums, now, space->fine_states + place);
                memcpy(states + place, now, state);
            }
        }
        active = counts[steps - 1];
    }
}

/* Let the window CNN read a group, text by text. */
INLINE void read_windows(const network_t *net, const group_t *group, space_t *space) {
    const int64_t channels = net->channels, width = net->width, side = width / 2, columns = net->window[0].outputs;
    float *sums = space->sums;
    for (int64_t text = 0; text < group->count; text++) {
        const int64_t length = group->lengths[text], begin = group->begins[text];
        for (int64_t first = 0; first < length; first += MOST) {
            const int64_t rows = length - first < MOST ? length - first : MOST;
            const vectors_t read = {space->read.values + (begin + first) * net->read, space->read.scales + begin + first};
            multiply(net->level, net->window, read, 1.0f, rows, space->wide + first * columns, 0);
            multiply(net->level, net->window + 1, read, 1.0f, rows, space->wide + first * columns, 1);
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
            const int64_t place = (begin + at) * channels;
            round_vector(sums, channels, space->window.values + place, space->fine_window + place, space->window.scales + begin + at);
        }
    }
}

/* Multiply with rounded weights, and with what rounding lost of rows or of weights. */
INLINE void add_finely(int64_t level, const matrix_t *matrices, vectors_t rows, vectors_t fine, int64_t count, float *found,
                       const int add) {
    multiply(level, matrices, rows, 1.0f, count, found, add);
    multiply(level, matrices + 1, rows, 1.0f, count, found, 1);
    multiply(level, matrices, fine, 1.0f / FINER, count, found, 1);
}

INLINE void score(const network_t *net, const texts_t *texts, const group_t *group, const int8_t *states, space_t *space) {
    const int64_t columns = net->from_states[0].outputs;
    int64_t text = 0;
    for (int64_t begin = 0; begin < group->characters; begin += MOST) {
        const int64_t left = group->characters - begin, rows = left < MOST ? left : MOST;
        const int64_t place = 2 * begin * net->state, seen = begin * net->channels;
        const vectors_t read = {(int8_t *)states + place, space->unit}, fine = {space->fine_states + place, space->unit};
        add_finely(net->level, net->from_states, read, fine, rows, space->wide, 0);
        if (net->channels) {
            const float *scales = space->window.scales + begin;
            const vectors_t window = {space->window.values + seen, (float *)scales};
            const vectors_t fine_window = {space->fine_window + seen, (float *)scales};
            add_finely(net->level, net->from_window, window, fine_window, rows, space->wide, 1);
        }
        const float *wide = space->wide;
        for (int64_t row = begin; row < begin + rows; row++, wide += columns) {
            while (row >= group->begins[text] + group->lengths[text]) text++;
            const int64_t cell = group->numbers[text] * texts->length + row - group->begins[text];
            for (int64_t head = 0, column = 0; head < net->heads; column += net->tags[head], head++)
                if (texts->found[head])
                    memcpy(texts->found[head] + cell * net->tags[head], wide + column, sizeof(float) * net->tags[head]);
        }
    }
}

INLINE void read_group(const network_t *net, const texts_t *texts, const group_t *group, space_t *space) {
    look_up(net, texts, group, space);
    if (net->channels) read_windows(net, group, space);
    vectors_t vectors = space->read;
    int8_t *states = space->states[0];
    for (int64_t layer = 0; layer < net->layers; layer++) {
        states = space->states[layer % 2];
        for (int direction = 0; direction < 2; direction++)
            read_direction(net, net->lstm + layer, direction, group, vectors, states, space);
        vectors.values = states, vectors.scales = space->unit;
    }
    score(net, texts, group, states, space);
}

INLINE void *piece(char **memory, int64_t size) {
    void *found = *memory;
    *memory += (size + 63) / 64 * 64;
    return found;
}

/* Reserve what a group of so many characters is computed in. Returns what is to be freed, NULL for want of memory. */
static void *reserve(const network_t *net, int64_t characters, int64_t longest, space_t *space) {
    const int64_t rows = characters + TILE, inputs = net->read > 2 * net->state ? net->read : 2 * net->state;
    const int64_t gates = net->lstm[0].inputs[0].outputs, window = net->channels ? net->window[0].outputs : 0;
    int64_t vector = net->channels > net->read ? net->channels : net->read;
    if (vector < net->units) vector = net->units;
    int64_t wide = MOST * (gates > net->from_states[0].outputs ? gates : net->from_states[0].outputs);
    if (wide < longest * window) wide = longest * window;
    const int64_t sizes[] = {rows * net->read, rows * 4, rows * 2 * net->state, rows * 2 * net->state, rows * net->channels, rows * 4,
                             (MOST + TILE) * inputs, (MOST + TILE) * 4, (GROUP + TILE) * net->state, wide * 4,
                             GROUP * net->units * 4, rows * 4, vector * 4, rows * 2 * net->state, rows * net->channels};
    int64_t total = 64;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) total += (sizes[i] + 63) / 64 * 64;
    char *memory = calloc(1, total), *next = (char *)(((uintptr_t)memory + 63) / 64 * 64);
    if (memory == NULL) return NULL;
    space->read.values = piece(&next, sizes[0]), space->read.scales = piece(&next, sizes[1]);
    space->states[0] = piece(&next, sizes[2]), space->states[1] = piece(&next, sizes[3]);
    space->window.values = piece(&next, sizes[4]), space->window.scales = piece(&next, sizes[5]);
    space->slab.values = piece(&next, sizes[6]), space->slab.scales = piece(&next, sizes[7]);
    space->before.values = piece(&next, sizes[8]), space->before.scales = NULL;
    space->wide = piece(&next, sizes[9]), space->cells = piece(&next, sizes[10]);
    space->unit = piece(&next, sizes[11]), space->sums = piece(&next, sizes[12]);
    space->fine_states = piece(&next, sizes[13]), space->fine_window = piece(&next, sizes[14]);
    for (int64_t r = 0; r < rows; r++) space->unit[r] = 1.0f / 127.0f;
    return memory;
}

/* Score the tags of texts. Returns 0, or 1 for want of memory. */
EXPORT FOR_EACH_PROCESSOR int zhseq_tag_scores(const network_t *net, const texts_t *texts) {
    int64_t most = 0;
    for (int64_t first = 0; first < texts->chosen; first += GROUP) {
        int64_t characters = 0;
        for (int64_t n = first; n < texts->chosen && n < first + GROUP; n++) characters += texts->lengths[texts->order[n]];
        most = characters > most ? characters : most;
    }
    const int64_t longest = texts->chosen ? texts->lengths[texts->order[0]] : 0;
    int64_t *begins = malloc(sizeof(int64_t) * (texts->texts + 1));
    space_t space;
    void *memory = begins == NULL ? NULL : reserve(net, most, longest, &space);
    if (memory == NULL) {
        free(begins);
        return 1;
    }
    begins[0] = 0;
    for (int64_t n = 0; n < texts->texts; n++) begins[n + 1] = begins[n] + texts->lengths[n];
#if HAS_VECTORS
    if (net->level == AMX) shape_tiles();
#endif
    for (int64_t first = 0; first < texts->chosen; first += GROUP) {
        group_t group = {.count = texts->chosen - first < GROUP ? texts->chosen - first : GROUP};
        for (int64_t n = 0; n < group.count; n++) {
            const int64_t number = texts->order[first + n];
            group.numbers[n] = number, group.lengths[n] = texts->lengths[number];
            group.begins[n] = group.characters, group.sources[n] = begins[number];
            group.characters += group.lengths[n];
        }
        read_group(net, texts, &group, &space);
    }
#if HAS_VECTORS
    if (net->level == AMX) release_tiles();
#endif
    free(memory), free(begins);
    return 0;
}
