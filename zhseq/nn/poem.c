/* A step of the poem model and the sampling of the next character: matrix products, LSTM cells, attention at one position, and
   draws under masks. Called only by zhseq/poetry/network.py and sampling.py, with arrays that they have validated: C order, the
   types below, consistent sizes.

   The results are those of the numpy code, except for the last digit of sums. Weights and inputs of matrix products are rounded to 8
   bits; the sums are exact, so that they are the same with all instruction sets. The results of a row do not depend on the other
   rows. */

#define _DEFAULT_SOURCE /* syscall */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "portable.h"
#include "products.h"

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

INLINE void multiply_rows(int level, const matrix_t *matrix, const float *rows, int64_t count, int64_t inputs, int64_t outputs,
                          uint8_t *values, float *found) {
    float scales[MOST];
    const vectors_t vectors = {values, scales, matrix->inputs};
    for (int64_t first = 0; first < count; first += MOST) {
        const int64_t some = count - first < MOST ? count - first : MOST;
        for (int64_t r = 0; r < some; r++)
            round_vector(rows + (first + r) * inputs, inputs, values + r * matrix->inputs, scales + r);
        multiply(level, matrix, vectors, some, (place_t){found + first * outputs, outputs, BLOCK, outputs}, 0);
    }
}

#if HAS_VECTORS
TARGET_VNNI static void vnni_multiply_rows(int level, const matrix_t *matrix, const float *rows, int64_t count, int64_t inputs,
                                           int64_t outputs, uint8_t *values, float *found) {
    if (level == AMX) shape_tiles();
    multiply_rows(level, matrix, rows, count, inputs, outputs, values, found);
    if (level == AMX) release_tiles();
}

TARGET_AVX2 static void avx2_multiply_rows(const matrix_t *matrix, const float *rows, int64_t count, int64_t inputs,
                                           int64_t outputs, uint8_t *values, float *found) {
    multiply_rows(AVX2, matrix, rows, count, inputs, outputs, values, found);
}
#endif

/* Write the products of rows, (count, inputs), and a matrix, plus its bias, to found, (count, outputs). Rows are quantised to 8
   bits, each with its own scale. Return 0, or 1 if there is not enough memory. */
EXPORT int zhseq_multiply(int64_t level, const matrix_t *matrix, const float *rows, int64_t count, int64_t inputs, int64_t outputs,
                          float *found) {
    uint8_t *values = calloc(MOST + TILE, matrix->inputs); /* the padding of rows must not be read uninitialised */
    if (values == NULL) return 1;
#if HAS_VECTORS
    if (level >= VNNI)
        vnni_multiply_rows((int)level, matrix, rows, count, inputs, outputs, values, found);
    else if (level == AVX2)
        avx2_multiply_rows(matrix, rows, count, inputs, outputs, values, found);
    else
#endif
        multiply_rows(PLAIN, matrix, rows, count, inputs, outputs, values, found);
    free(values);
    return 0;
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
