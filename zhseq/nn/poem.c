/* A step of the poem model and the sampling of the next character: matrix products, LSTM cells, attention at one position, and
   draws under masks. Called only by zhseq/poetry/network.py and sampling.py, with arrays that they have validated: C order, the
   types below, consistent sizes.

   The results are those of the numpy code, except for the last digit of sums. Matrix products use AMX tiles in bfloat16, which
   has 8 bits of precision: an input is split into a sum of three bfloat16 numbers, a weight into two, which represent the 11 bits
   of float16 exactly. Without AMX they use fused multiply-adds in 32 bits. The results of a row do not depend on the other rows. */

#define _DEFAULT_SOURCE /* syscall */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "portable.h"

#define TILE 16 /* rows or columns of a tile */
#define DEEP 32 /* inputs of a tile */
#define TILE_SIZE (TILE * DEEP) /* 16-bit numbers of a tile */
#define PARTS 3 /* bfloat16 numbers whose sum is an input; a weight has two */

INLINE float larger(float a, float b) { return a > b ? a : b; }
INLINE float smaller(float a, float b) { return a < b ? a : b; }

/* exp(x), with x clamped to [-87, 87]. */
INLINE float exponential(float x) {
    x = larger(smaller(x, 87.0f), -87.0f);
    const float whole = (x * 1.44269504f + 12582912.0f) - 12582912.0f; /* round to the nearest integer */
    const float part = (x - whole * 0.693359375f) + whole * 2.12194440e-4f;
    float power = 1.3888889e-3f + part * 1.9841270e-4f; /* Taylor series */
    power = 8.3333333e-3f + part * power;
    power = 4.1666667e-2f + part * power;
    power = 1.6666667e-1f + part * power;
    power = 5.0e-1f + part * power;
    power = 1.0f + part * power;
    power = 1.0f + part * power;
    union {
        int32_t bits;
        float value;
    } scale = {((int32_t)whole + 127) << 23};
    return power * scale.value;
}

/* ---- Matrix products ---- */

INLINE uint16_t upper_half(float value) { /* the nearest bfloat16 */
    union {
        float value;
        uint32_t bits;
    } found = {value};
    return (uint16_t)((found.bits + 0x7FFF + (found.bits >> 16 & 1)) >> 16);
}

INLINE float of_half(uint16_t half) {
    union {
        uint32_t bits;
        float value;
    } found = {(uint32_t)half << 16};
    return found.value;
}

/* Arrange weights, (outputs, inputs), for zhseq_multiply: (outputs / 32, inputs / DEEP, 2 for upper and lower parts, 2 tiles,
   TILE_SIZE), padded with 0. */
EXPORT FOR_EACH_PROCESSOR void zhseq_lay_out(const float *weights, int64_t outputs, int64_t inputs, uint16_t *found) {
    const int64_t steps = (inputs + DEEP - 1) / DEEP, blocks = (outputs + 2 * TILE - 1) / (2 * TILE);
    memset(found, 0, sizeof(uint16_t) * blocks * steps * 4 * TILE_SIZE);
    for (int64_t n = 0; n < outputs; n++)
        for (int64_t k = 0; k < inputs; k++) {
            const float value = weights[n * inputs + k];
            const int64_t step = (n / (2 * TILE) * steps + k / DEEP) * 4 * TILE_SIZE, tile = n % (2 * TILE) / TILE * TILE_SIZE;
            const int64_t place = step + tile + k % DEEP / 2 * DEEP + n % TILE * 2 + k % 2;
            const uint16_t half = upper_half(value);
            found[place] = half, found[place + 2 * TILE_SIZE] = upper_half(value - of_half(half));
        }
}

#if HAS_VECTORS
static const struct {
    uint8_t palette, start, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
} eight_tiles = {1, 0, {0}, {64, 64, 64, 64, 64, 64, 64, 64}, {TILE, TILE, TILE, TILE, TILE, TILE, TILE, TILE}};

/* Split rows, (count, inputs), into tiles, (count / TILE, inputs / DEEP, PARTS, TILE_SIZE), whose padding must be 0 already. */
FOR_EACH_PROCESSOR static void split_rows(const float *rows, int64_t count, int64_t inputs, uint16_t *found) {
    const int64_t steps = (inputs + DEEP - 1) / DEEP;
    for (int64_t r = 0; r < count; r++)
        for (int64_t step = 0; step < steps; step++) {
            const float *values = rows + r * inputs + step * DEEP;
            uint16_t *first = found + (r / TILE * steps + step) * PARTS * TILE_SIZE + r % TILE * DEEP;
            uint16_t *second = first + TILE_SIZE, *third = second + TILE_SIZE;
            const int size = inputs - step * DEEP < DEEP ? (int)(inputs - step * DEEP) : DEEP;
            for (int k = 0; k < size; k++) {
                first[k] = upper_half(values[k]);
                const float left = values[k] - of_half(first[k]);
                second[k] = upper_half(left), third[k] = upper_half(left - of_half(second[k]));
            }
        }
}

#define TARGET_TILES __attribute__((target("amx-tile,amx-bf16")))

#define LOAD(tile, place) _tile_loadd(tile, place, 64)

/* Compute initial sums, (TILE, 2 * TILE), plus the products of two tiles of rows and two of columns, in tile registers 0 to 3.
   With the upper parts of weights, smaller parts of rows are added first. */
TARGET_TILES static void four_tiles(const float *sums, const uint16_t *rows, int64_t next, const uint16_t *weights, int64_t steps) {
    _tile_loadd(0, sums, 128); _tile_loadd(1, sums + TILE, 128);
    _tile_loadd(2, sums, 128); _tile_loadd(3, sums + TILE, 128);
    for (int64_t step = 0; step < steps; step++, rows += PARTS * TILE_SIZE, weights += 4 * TILE_SIZE) {
        LOAD(6, weights); LOAD(7, weights + TILE_SIZE);
        for (int part = PARTS - 1; part >= 0; part--) {
            LOAD(4, rows + part * TILE_SIZE); LOAD(5, rows + next + part * TILE_SIZE);
            _tile_dpbf16ps(0, 4, 6); _tile_dpbf16ps(1, 4, 7); _tile_dpbf16ps(2, 5, 6); _tile_dpbf16ps(3, 5, 7);
        }
        LOAD(6, weights + 2 * TILE_SIZE); LOAD(7, weights + 3 * TILE_SIZE);
        for (int part = 0; part < 2; part++) {
            if (part) { LOAD(4, rows + TILE_SIZE); LOAD(5, rows + next + TILE_SIZE); }
            _tile_dpbf16ps(0, 4, 6); _tile_dpbf16ps(1, 4, 7); _tile_dpbf16ps(2, 5, 6); _tile_dpbf16ps(3, 5, 7);
        }
    }
}

/* The same for one tile of rows, in tile registers 0 and 1. */
TARGET_TILES static void two_tiles(const float *sums, const uint16_t *rows, const uint16_t *weights, int64_t steps) {
    _tile_loadd(0, sums, 128); _tile_loadd(1, sums + TILE, 128);
    for (int64_t step = 0; step < steps; step++, rows += PARTS * TILE_SIZE, weights += 4 * TILE_SIZE) {
        LOAD(2, rows); LOAD(3, rows + TILE_SIZE); LOAD(4, rows + 2 * TILE_SIZE);
        LOAD(6, weights); LOAD(7, weights + TILE_SIZE);
        _tile_dpbf16ps(0, 4, 6); _tile_dpbf16ps(1, 4, 7); _tile_dpbf16ps(0, 3, 6); _tile_dpbf16ps(1, 3, 7);
        _tile_dpbf16ps(0, 2, 6); _tile_dpbf16ps(1, 2, 7);
        LOAD(6, weights + 2 * TILE_SIZE); LOAD(7, weights + 3 * TILE_SIZE);
        _tile_dpbf16ps(0, 2, 6); _tile_dpbf16ps(1, 2, 7); _tile_dpbf16ps(0, 3, 6); _tile_dpbf16ps(1, 3, 7);
    }
}

/* Write the tile registers, 2 * TILE columns by up to 2 * TILE rows, to found, from a column on. */
TARGET_TILES static void store_tiles(float *found, int64_t outputs, int64_t count, int64_t column) {
    float corner[2 * TILE * 2 * TILE];
    const int64_t width = outputs - column < 2 * TILE ? outputs - column : 2 * TILE;
    const int whole = width == 2 * TILE && (count == TILE || count == 2 * TILE);
    float *place = whole ? found + column : corner;
    const int64_t stride = sizeof(float) * (whole ? outputs : 2 * TILE);
    _tile_stored(0, place, stride); _tile_stored(1, place + TILE, stride);
    if (count > TILE) {
        place += TILE * stride / sizeof(float);
        _tile_stored(2, place, stride); _tile_stored(3, place + TILE, stride);
    }
    for (int64_t r = 0; !whole && r < count; r++) memcpy(found + r * outputs + column, corner + r * 2 * TILE, sizeof(float) * width);
}

TARGET_TILES static void multiply(const uint16_t *rows, int64_t count, const uint16_t *weights, const float *bias, int64_t inputs,
                                  int64_t outputs, float *found) {
    const int64_t steps = (inputs + DEEP - 1) / DEEP, next = steps * PARTS * TILE_SIZE;
    float sums[TILE * 2 * TILE];
    _tile_loadconfig(&eight_tiles);
    for (int64_t column = 0; column < outputs; column += 2 * TILE, weights += steps * 4 * TILE_SIZE) {
        for (int64_t i = 0; i < TILE * 2 * TILE; i++) sums[i] = bias && column + i % 32 < outputs ? bias[column + i % 32] : 0.0f;
        for (int64_t r = 0; r < count; r += 2 * TILE) {
            const int64_t left = count - r < 2 * TILE ? count - r : 2 * TILE;
            if (left > TILE)
                four_tiles(sums, rows + r / TILE * next, next, weights, steps);
            else
                two_tiles(sums, rows + r / TILE * next, weights, steps);
            store_tiles(found + r * outputs, outputs, left, column);
        }
    }
    _tile_release();
}
#endif

/* Return whether this CPU has AMX with bfloat16 and the system permits it. */
EXPORT int zhseq_has_tiles(void) {
#if HAS_VECTORS
    unsigned a, b, c, d;
    __asm__ volatile("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(7), "c"(0));
    return (d >> 22 & 1) && (d >> 24 & 1) && syscall(SYS_arch_prctl, 0x1023 /* ARCH_REQ_XCOMP_PERM */, 18L) == 0;
#else
    return 0;
#endif
}

/* Write the products of rows, (count, inputs), and weights arranged by zhseq_lay_out, plus bias, (outputs) or NULL, to found,
   (count, outputs). Return 0, or 1 if there is not enough memory. Requires zhseq_has_tiles. */
EXPORT int zhseq_multiply(const float *rows, int64_t count, const uint16_t *weights, const float *bias, int64_t inputs,
                          int64_t outputs, float *found) {
#if HAS_VECTORS
    const int64_t steps = (inputs + DEEP - 1) / DEEP, tiles = (count + TILE - 1) / TILE;
    uint16_t *memory = calloc(1, sizeof(uint16_t) * tiles * steps * PARTS * TILE_SIZE + 64);
    if (memory == NULL) return 1;
    uint16_t *split = (uint16_t *)(((uintptr_t)memory + 63) / 64 * 64);
    split_rows(rows, count, inputs, split);
    multiply(split, count, weights, bias, inputs, outputs, found);
    free(memory);
    return 0;
#else
    (void)rows, (void)count, (void)weights, (void)bias, (void)inputs, (void)outputs, (void)found;
    return 1;
#endif
}

/* ---- Matrix products in 32 bits ---- */

#define PANEL 32 /* outputs whose weights lie together: (inputs, PANEL) */

#if HAS_VECTORS
typedef struct {
    const float *rows; /* (count, inputs) */
    int64_t inputs;
} rows_t;

/* Multiply `count` rows by a panel and add `sums`, (PANEL); write to `found`, (count, PANEL). Few rows fill the registers. */
__attribute__((target("avx512f"))) INLINE void wide_panel(rows_t given, const int count, const float *panel, const float *sums,
                                                          float *found) {
    __m512 acc[12][2];
#pragma GCC unroll 12
    for (int r = 0; r < count; r++) acc[r][0] = _mm512_loadu_ps(sums), acc[r][1] = _mm512_loadu_ps(sums + 16);
    for (int64_t k = 0; k < given.inputs; k++, panel += PANEL) {
        const __m512 low = _mm512_loadu_ps(panel), high = _mm512_loadu_ps(panel + 16);
#pragma GCC unroll 12
        for (int r = 0; r < count; r++) {
            const __m512 value = _mm512_set1_ps(given.rows[r * given.inputs + k]);
            acc[r][0] = _mm512_fmadd_ps(value, low, acc[r][0]), acc[r][1] = _mm512_fmadd_ps(value, high, acc[r][1]);
        }
    }
#pragma GCC unroll 12
    for (int r = 0; r < count; r++)
        _mm512_storeu_ps(found + r * PANEL, acc[r][0]), _mm512_storeu_ps(found + r * PANEL + 16, acc[r][1]);
}

__attribute__((target("avx2,fma"))) INLINE void narrow_panel(rows_t given, const int count, const float *panel, const float *sums,
                                                             float *found) {
    __m256 acc[3][4];
#pragma GCC unroll 3
    for (int r = 0; r < count; r++)
#pragma GCC unroll 4
        for (int c = 0; c < 4; c++) acc[r][c] = _mm256_loadu_ps(sums + 8 * c);
    for (int64_t k = 0; k < given.inputs; k++, panel += PANEL)
#pragma GCC unroll 3
        for (int r = 0; r < count; r++) {
            const __m256 value = _mm256_set1_ps(given.rows[r * given.inputs + k]);
#pragma GCC unroll 4
            for (int c = 0; c < 4; c++) acc[r][c] = _mm256_fmadd_ps(value, _mm256_loadu_ps(panel + 8 * c), acc[r][c]);
        }
#pragma GCC unroll 3
    for (int r = 0; r < count; r++)
#pragma GCC unroll 4
        for (int c = 0; c < 4; c++) _mm256_storeu_ps(found + r * PANEL + 8 * c, acc[r][c]);
}

__attribute__((target("avx512f"))) static void wide_rows(rows_t given, int64_t count, const float *panel, const float *sums,
                                                         float *found) {
    for (; count >= 12; count -= 12, given.rows += 12 * given.inputs, found += 12 * PANEL) wide_panel(given, 12, panel, sums, found);
    for (; count >= 4; count -= 4, given.rows += 4 * given.inputs, found += 4 * PANEL) wide_panel(given, 4, panel, sums, found);
    for (; count > 0; count--, given.rows += given.inputs, found += PANEL) wide_panel(given, 1, panel, sums, found);
}

__attribute__((target("avx2,fma"))) static void narrow_rows(rows_t given, int64_t count, const float *panel, const float *sums,
                                                            float *found) {
    for (; count >= 3; count -= 3, given.rows += 3 * given.inputs, found += 3 * PANEL) narrow_panel(given, 3, panel, sums, found);
    for (; count > 0; count--, given.rows += given.inputs, found += PANEL) narrow_panel(given, 1, panel, sums, found);
}
#endif

/* Write the products of rows, (count, inputs), and weights, (panels, inputs, PANEL), plus bias, (outputs) or NULL, to found,
   (count, outputs). wide: use AVX-512, not AVX2 and FMA, one of which the CPU must have. Return 0, or 1 if there is not enough
   memory. */
EXPORT int zhseq_multiply_panels(const float *rows, int64_t count, const float *panels, const float *bias, int64_t inputs,
                                 int64_t outputs, int64_t wide, float *found) {
#if HAS_VECTORS
    float *part = malloc(sizeof(float) * (count ? count : 1) * PANEL);
    if (part == NULL) return 1;
    for (int64_t column = 0; column < outputs; column += PANEL, panels += inputs * PANEL) {
        const int64_t width = outputs - column < PANEL ? outputs - column : PANEL;
        float sums[PANEL] = {0};
        if (bias != NULL) memcpy(sums, bias + column, sizeof(float) * width);
        (wide ? wide_rows : narrow_rows)((rows_t){rows, inputs}, count, panels, sums, part);
        for (int64_t r = 0; r < count; r++) memcpy(found + r * outputs + column, part + r * PANEL, sizeof(float) * width);
    }
    free(part);
    return 0;
#else
    (void)rows, (void)count, (void)panels, (void)bias, (void)inputs, (void)outputs, (void)wide, (void)found;
    return 1;
#endif
}

/* ---- LSTM cells and attention ---- */

/* tanh(x). */
INLINE float squeezed(float x) { return 1.0f - 2.0f / (exponential(2.0f * x) + 1.0f); }

/* Compute cells and states, (count, units), from gates, (count, 4 * units), all but the third of which are halved, and the
   previous cells; see _Layer in zhseq/poetry/network.py. */
EXPORT FOR_EACH_PROCESSOR void zhseq_lstm_cells(int64_t count, int64_t units, const float *gates, const float *before,
                                                float *cells, float *states) {
    for (int64_t r = 0; r < count; r++, gates += 4 * units, before += units, cells += units, states += units)
#pragma omp simd
        for (int64_t u = 0; u < units; u++) {
            const float opened = squeezed(gates[u]) + 1.0f;
            const float kept = squeezed(gates[units + u]) + 1.0f;
            const float fresh = squeezed(gates[2 * units + u]);
            const float shown = squeezed(gates[3 * units + u]) + 1.0f;
            cells[u] = (opened * fresh + kept * before[u]) * 0.5f;
            states[u] = squeezed(cells[u]) * shown * 0.5f;
        }
}

/* Compute the attention of each row to the first `length` of `room` positions, see NumpyNetwork. queries: (count, heads * size)
   with a row stride; keys, values: (count, room, heads * size); found: (count, heads * size).
   Return 0, or 1 if there is not enough memory. */
EXPORT FOR_EACH_PROCESSOR int zhseq_look_back(int64_t count, int64_t heads, int64_t size, int64_t length, int64_t room,
                                              const float *queries, int64_t stride, const float *keys, const float *values,
                                              float *found) {
    const int64_t width = heads * size;
    const float scale = 1.0f / sqrtf((float)size);
    float *scores = malloc(sizeof(float) * length);
    if (scores == NULL) return 1;
    for (int64_t r = 0; r < count; r++, queries += stride, keys += room * width, values += room * width)
        for (int64_t head = 0; head < heads; head++, found += size) {
            const float *query = queries + head * size;
            float peak = -INFINITY, total = 0.0f;
            for (int64_t at = 0; at < length; at++) {
                const float *key = keys + at * width + head * size;
                float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
                for (int64_t i = 0; i < size; i++) sum += query[i] * key[i];
                scores[at] = sum * scale, peak = larger(peak, sum * scale);
            }
            for (int64_t at = 0; at < length; at++) scores[at] = exponential(scores[at] - peak), total += scores[at];
            memset(found, 0, sizeof(float) * size);
            for (int64_t at = 0; at < length; at++) {
                const float share = scores[at] / total, *value = values + at * width + head * size;
                for (int64_t i = 0; i < size; i++) found[i] += share * value[i];
            }
        }
    free(scores);
    return 0;
}

/* ---- Sampling ---- */

INLINE float peak_of(const float *scores, int64_t size) {
    float peak = -INFINITY;
#pragma omp simd reduction(max : peak)
    for (int64_t i = 0; i < size; i++) peak = larger(scores[i], peak);
    return peak;
}

/* Compute the log-sum-exp of each row of scores, (count, size). */
EXPORT FOR_EACH_PROCESSOR void zhseq_totals(int64_t count, int64_t size, const float *scores, float *found) {
    for (int64_t r = 0; r < count; r++, scores += size) {
        const float peak = peak_of(scores, size);
        float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = 0; i < size; i++) sum += exponential(scores[i] - peak);
        found[r] = logf(sum) + peak;
    }
}

/* Convert floats to integers of the same order, and back. */
INLINE int32_t key_of(float value) {
    union {
        float value;
        int32_t bits;
    } found = {value};
    return found.bits ^ (found.bits >> 31 & 0x7FFFFFFF);
}

INLINE float of_key(int32_t key) {
    union {
        int32_t bits;
        float value;
    } found = {key ^ (key >> 31 & 0x7FFFFFFF)};
    return found.value;
}

/* Return a bound that at least `most` of the keys reach, and not many more; the lowest bound if there are fewer keys. */
INLINE int32_t bound_of(const int32_t *keys, int64_t size, int64_t most) {
    int32_t low = key_of(-INFINITY), high = key_of(INFINITY);
    while (low + 1 < high) {
        const int32_t middle = (int32_t)(((int64_t)low + high) / 2);
        int32_t reached = 0;
        for (int64_t i = 0; i < size; i++) reached += keys[i] >= middle;
        if (reached < most) {
            high = middle;
            continue;
        }
        low = middle;
        if (reached <= most + most / 4) break;
    }
    return low;
}

typedef struct {
    float score;
    int32_t place;
} choice_t;

INLINE int is_before(choice_t one, choice_t other) {
    return one.score > other.score || (one.score == other.score && one.place < other.place);
}

/* Sort choices, best first. */
static void sort(choice_t *choices, int64_t size) {
    while (size > 12) {
        const choice_t pivot = choices[size / 2];
        int64_t low = 0, high = size - 1;
        while (low <= high) {
            while (is_before(choices[low], pivot)) low++;
            while (is_before(pivot, choices[high])) high--;
            if (low > high) break;
            const choice_t kept = choices[low];
            choices[low++] = choices[high], choices[high--] = kept;
        }
        sort(choices, high + 1);
        choices += low, size -= low;
    }
    for (int64_t i = 1; i < size; i++) {
        const choice_t kept = choices[i];
        int64_t at = i;
        for (; at > 0 && is_before(kept, choices[at - 1]); at--) choices[at] = choices[at - 1];
        choices[at] = kept;
    }
}

#define NOTHING 1e-30f /* smaller weights count as 0 */
#define LAYERS 8 /* scores in a group, of which first only the maximum is compared */

/* Write the `most` best scores, best first and without minus infinity, to choices, (size), and return their number.
   keys: (size / LAYERS, rounded up), a buffer. */
INLINE int64_t best_of(const float *scores, int64_t size, int64_t most, int32_t *keys, choice_t *choices) {
    const int64_t groups = (size + LAYERS - 1) / LAYERS;
    for (int64_t g = 0; g < groups; g++) keys[g] = key_of(scores[g]);
    for (int64_t begin = groups; begin < size; begin += groups) {
        const int64_t part = size - begin < groups ? size - begin : groups;
        for (int64_t g = 0; g < part; g++) {
            const int32_t key = key_of(scores[begin + g]);
            keys[g] = key > keys[g] ? key : keys[g];
        }
    }
    const int32_t bound = bound_of(keys, groups, most);
    const float least = of_key(bound);
    int64_t count = 0;
    for (int64_t g = 0; g < groups; g++)
        for (int64_t i = g; keys[g] >= bound && i < size; i += groups)
            if (scores[i] >= least && scores[i] > -INFINITY) choices[count].score = scores[i], choices[count++].place = (int32_t)i;
    sort(choices, count);
    return count < most ? count : most;
}

/* All fields have 64 bits. */
typedef struct {
    int64_t count, size;   /* number of rows, and of scores in a row */
    int64_t width;         /* number of consecutive rows that share a row of `allowed` */
    int64_t changes;       /* number of penalties per row */
    int64_t most;          /* number of best characters from which one is drawn */
    const float *scores;   /* (count, size) */
    const float *allowed;  /* (count / width, size): added to scores */
    const int64_t *places; /* (count, changes): characters with penalties */
    const float *nats;     /* (count, changes): their penalties, subtracted from scores */
    const float *chances;  /* (count): random numbers from 0 to 1 */
    const float *limits;   /* temperature and share, see Sampling */
} draws_t;

/* Draw one of the best characters; their scores are replaced by probabilities. */
INLINE int64_t drawn_of(choice_t *best, int64_t count, float heat, float share, float chance) {
    const float peak = best[0].score;
    float total = 0.0f, limit = 0.0f, sum = 0.0f;
    int64_t kept = 0, chosen = 0;
    for (int64_t i = 0; i < count; i++) best[i].score = exponential((best[i].score - peak) / heat), total += best[i].score;
    for (; kept < count && (kept == 0 || (limit < share && best[kept].score > NOTHING)); kept++) limit += best[kept].score /= total;
    while (chosen < kept - 1 && (sum += best[chosen].score) < chance * limit) chosen++;
    return best[chosen].place;
}

/* Draw a character for each row. Return 0, or 1 if there is not enough memory. */
EXPORT FOR_EACH_PROCESSOR int zhseq_draw(const draws_t *draws, int64_t *found) {
    const int64_t size = draws->size, groups = (size + LAYERS - 1) / LAYERS;
    float *scores = malloc((sizeof(float) + sizeof(choice_t)) * size + sizeof(int32_t) * groups);
    if (scores == NULL) return 1;
    choice_t *choices = (choice_t *)(scores + size);
    int32_t *keys = (int32_t *)(choices + size);
    for (int64_t r = 0; r < draws->count; r++) {
        const float *own = draws->scores + r * size, *allowed = draws->allowed + r / draws->width * size;
        for (int64_t i = 0; i < size; i++) scores[i] = own[i] + allowed[i];
        for (int64_t n = r * draws->changes; n < (r + 1) * draws->changes; n++) scores[draws->places[n]] -= draws->nats[n];
        const int64_t count = best_of(scores, size, draws->most, keys, choices);
        found[r] = count ? drawn_of(choices, count, draws->limits[0], draws->limits[1], draws->chances[r]) : 0;
    }
    free(scores);
    return 0;
}
