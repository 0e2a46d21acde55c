/* Viterbi search and marginals for zhseq.nn.viterbi, which documents the algorithms. Called only by that module, with arrays
   that it has validated: C order, the types below, consistent sizes. Columns are padded to a multiple of LANES, scores with
   minus infinity.

   Best paths are bit for bit those of the numpy code: sums are computed two numbers at a time, in the same order. */

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "portable.h"

#define LANES 16
#define PADDED(n) (((n) + LANES - 1) / LANES * LANES)

/* All fields have 64 bits. */
typedef struct {
    int64_t tags;        /* number of columns */
    int64_t width;       /* number of target columns of the dense table, which come first */
    int64_t first_row;   /* column of the first row of the dense table */
    int64_t rows;        /* number of rows of the dense table */
    int64_t ways;        /* maximum number of listed transitions to one column */
    int64_t inner_begin; /* first column that a listed transition leads to */
    int64_t labels;      /* number of rows of spans */
    const int32_t *order;      /* (tags): tag of each column */
    const float *start;        /* (PADDED(tags)) */
    const float *end;          /* (PADDED(tags)) */
    const float *across;       /* (rows, PADDED(width)): dense table of transition scores */
    const float *into;         /* (width, PADDED(rows)): the dense table transposed */
    const float *gap;          /* (rows, PADDED(rows)): see Chain */
    const int32_t *inner_from; /* (ways, PADDED(tags)): source columns of listed transitions, padded with 0 */
    const float *inner;        /* (ways, PADDED(tags)): scores of listed transitions */
    const int32_t *spans;      /* (labels, 4): columns of B, inside, E, S, or -1 */
    const float *steps;        /* (4, labels): scores of B to inside, B to E, inside to inside, inside to E */
} chain_t;

typedef struct {
    const float *emissions;  /* (batch, length, tags) */
    const int64_t *lengths;  /* (batch) */
    int64_t batch, length;
    const int32_t *kinds;    /* (characters of all texts): row of penalties, or -1; NULL for no restrictions */
    const float *penalties;  /* (kinds, tags) */
} sequences_t;

typedef struct {
    int64_t count;
    const int64_t *starts, *lasts; /* (count): first and last characters in the concatenated texts; sorted by the last */
    const float *bonus;            /* (count) */
    const int64_t *labels;         /* (count): row of spans of the label whose bonus counts twice, or -1 */
} arcs_t;

INLINE float greatest(const float *values, int padded) {
    float found = -INFINITY;
#pragma omp simd reduction(max : found)
    for (int i = 0; i < padded; i++) found = larger(values[i], found);
    return found;
}

INLINE int first_of(const float *values, int padded, float wanted) {
    int found = padded;
#pragma omp simd reduction(min : found)
    for (int i = 0; i < padded; i++) {
        const int here = values[i] == wanted ? i : padded;
        found = here < found ? here : found;
    }
    return found < padded ? found : 0;
}

/* Write the scores of each character of a text, relative to the maximum over its tags, to own, (length, PADDED(tags)).
   Return the sum of these maxima, or NaN if emissions are NaN or infinite. */
INLINE double own_scores(const chain_t *chain, const float *emissions, int64_t length, const int32_t *kinds,
                         const float *penalties, float *own) {
    const int tags = (int)chain->tags, padded = PADDED(tags);
    double peaks = 0.0;
    for (int64_t at = 0; at < length; at++, own += padded, emissions += tags) {
        int strange = 0;
        for (int c = tags; c < padded; c++) own[c] = -INFINITY;
        if (kinds != NULL && kinds[at] >= 0) {
            const float *penalty = penalties + (int64_t)kinds[at] * tags;
            for (int c = 0; c < tags; c++) own[c] = emissions[chain->order[c]] + penalty[chain->order[c]];
        } else {
            for (int c = 0; c < tags; c++) own[c] = emissions[chain->order[c]];
        }
        for (int c = 0; c < tags; c++) strange |= !(own[c] < INFINITY);
        if (strange) return NAN;
        const float peak = larger(greatest(own, padded), -FLT_MAX);
        for (int c = 0; c < padded; c++) own[c] -= peak;
        peaks += peak;
    }
    return peaks;
}

/* Write the maximum over the transitions of the dense table from the scores `before` to after, (PADDED(width)). */
INLINE void dense_step(const chain_t *chain, const float *restrict before, float *restrict closing, float *restrict after) {
    const int rows = chain->rows, padded_rows = PADDED(rows), width = PADDED(chain->width);
    memcpy(closing, before + chain->first_row, sizeof(float) * rows);
    const float top = greatest(closing, padded_rows);
    const int best = first_of(closing, padded_rows, top);
    const float *gap = chain->gap + (int64_t)best * padded_rows, *across = chain->across + (int64_t)best * width;
    const float least = larger(top, -1e30f);
    for (int c = 0; c < width; c++) after[c] = across[c] + top;
    for (int block = 0; block < padded_rows; block += LANES) {
        int rivals = 0;
#pragma omp simd reduction(| : rivals)
        for (int l = 0; l < LANES; l++) rivals |= gap[block + l] + closing[block + l] >= least;
        if (!rivals) continue;
        for (int r = block; r < block + LANES && r < rows; r++) {
            if (!(gap[r] + closing[r] >= least)) continue;
            const float *row = chain->across + (int64_t)r * width;
            for (int c = 0; c < width; c++) after[c] = larger(row[c] + closing[r], after[c]);
        }
    }
}

INLINE void step(const chain_t *chain, const float *restrict before, const float *restrict own, float *restrict closing,
                 float *restrict after) {
    const int padded = PADDED(chain->tags), begin = chain->inner_begin;
    for (int c = 0; c < padded; c++) after[c] = -INFINITY;
    if (chain->rows) {
        float *dense = closing + PADDED(chain->rows);
        dense_step(chain, before, closing, dense);
        memcpy(after, dense, sizeof(float) * chain->width);
    }
    for (int way = 0; way < chain->ways; way++) {
        const int32_t *from = chain->inner_from + (int64_t)way * padded;
        const float *inner = chain->inner + (int64_t)way * padded;
        for (int c = begin; c < padded; c++) after[c] = larger(before[from[c]] + inner[c], after[c]);
    }
    for (int c = 0; c < padded; c++) after[c] += own[c];
}

/* Raise the scores at `last` by an arc from start to last; store the arc in chosen, (labels), where it is the best path. */
INLINE void follow_arc(const chain_t *chain, const float *own, float *values, int64_t start, int64_t last, float bonus,
                       int64_t label, int32_t arc, int32_t *chosen) {
    const int padded = PADDED(chain->tags), labels = chain->labels;
    for (int n = 0; n < labels; n++) {
        const int32_t *span = chain->spans + 4 * (int64_t)n;
        const int begin = span[0], inside = span[1], end = span[2];
        if (begin < 0 || end < 0 || (last > start + 1 && inside < 0)) continue;
        float gain = values[start * padded + begin];
        for (int64_t at = start + 1; at < last; at++) {
            gain += chain->steps[(at == start + 1 ? 0 : 2) * labels + n];
            gain += own[at * padded + inside];
        }
        gain += chain->steps[(last == start + 1 ? 1 : 3) * labels + n];
        gain += own[last * padded + end];
        gain += bonus;
        if (n == label) gain += bonus;
        if (gain >= values[last * padded + end]) {
            values[last * padded + end] = gain;
            chosen[n] = arc;
        }
    }
}

/* Return the best predecessor of a column, one character before. */
INLINE int source_of(const chain_t *chain, const float *before, int column, float *closing) {
    const int rows = chain->rows, padded_rows = PADDED(rows), padded = PADDED(chain->tags);
    float best = -INFINITY;
    int source = 0;
    if (rows && column < chain->width) {
        const float *into = chain->into + (int64_t)column * padded_rows;
        memcpy(closing, before + chain->first_row, sizeof(float) * rows);
        for (int r = 0; r < padded_rows; r++) closing[r] += into[r];
        best = greatest(closing, padded_rows);
        source = chain->first_row + first_of(closing, padded_rows, best);
        for (int r = rows; r < padded_rows; r++) closing[r] = -INFINITY;
    }
    for (int way = 0; way < chain->ways; way++) {
        const int from = chain->inner_from[(int64_t)way * padded + column];
        const float sum = before[from] + chain->inner[(int64_t)way * padded + column];
        if (sum > best) best = sum, source = from;
    }
    return source;
}

/* Find the best path of each text: the concatenated tags, and the score of each path, minus infinity if there is none.
   Return 0, or 1 if there is not enough memory. */
EXPORT FOR_EACH_PROCESSOR int zhseq_best_paths(const chain_t *chain, const sequences_t *texts, const arcs_t *arcs,
                                               int64_t *tags, double *scores) {
    const int padded = PADDED(chain->tags), labels = chain->labels;
    const int64_t longest = texts->length, cells = longest * padded;
    float *own = malloc(sizeof(float) * cells), *values = malloc(sizeof(float) * cells);
    float *closing = malloc(sizeof(float) * (PADDED(chain->rows) + PADDED(chain->width) + LANES));
    int32_t *chosen = arcs->count ? malloc(sizeof(int32_t) * longest * (labels + 1)) : NULL;
    const int failed = own == NULL || values == NULL || closing == NULL || (arcs->count && chosen == NULL);
    int64_t offset = 0, arc = 0;
    if (!failed)
        for (int r = 0; r < PADDED(chain->rows); r++) closing[r] = -INFINITY;
    for (int64_t text = 0; !failed && text < texts->batch; text++) {
        const int64_t length = texts->lengths[text], first_arc = arc;
        const double peaks = own_scores(chain, texts->emissions + text * longest * chain->tags, length,
                                        texts->kinds == NULL ? NULL : texts->kinds + offset, texts->penalties, own);
        while (arc < arcs->count && arcs->lasts[arc] < offset + length) arc++;
        if (isnan(peaks)) {
            scores[text] = -INFINITY;
            memset(tags + offset, 0, sizeof(int64_t) * length);
            offset += length;
            continue;
        }
        for (int64_t a = first_arc; a < arc; a++) {
            if (arcs->starts[a] != arcs->lasts[a]) continue;
            float *cell = own + (arcs->starts[a] - offset) * padded;
            for (int n = 0; n < labels; n++) {
                const int single = chain->spans[4 * (int64_t)n + 3];
                if (single >= 0) cell[single] += arcs->bonus[a];
                if (single >= 0 && n == arcs->labels[a]) cell[single] += arcs->bonus[a];
            }
        }
        if (arc > first_arc) memset(chosen, 0xff, sizeof(int32_t) * length * labels);
        for (int c = 0; c < padded; c++) values[c] = own[c] + chain->start[c];
        int64_t next = first_arc;
        for (int64_t at = 0; at < length; at++) {
            if (at) step(chain, values + (at - 1) * padded, own + at * padded, closing, values + at * padded);
            for (; next < arc && arcs->lasts[next] - offset == at; next++)
                if (arcs->starts[next] < arcs->lasts[next])
                    follow_arc(chain, own, values, arcs->starts[next] - offset, at, arcs->bonus[next],
                               arcs->labels[next], (int32_t)(next - first_arc), chosen + at * labels);
        }
        float *final = own; /* reuse the buffer */
        for (int c = 0; c < padded; c++) final[c] = values[(length - 1) * padded + c] + chain->end[c];
        const float best = greatest(final, padded);
        int column = first_of(final, padded, best);
        scores[text] = (double)best + peaks;
        for (int64_t at = length - 1; at >= 0; at--) {
            tags[offset + at] = chain->order[column];
            int32_t by = -1;
            int label = 0;
            for (; arc > first_arc && label < labels; label++)
                if (chain->spans[4 * (int64_t)label + 2] == column) {
                    by = chosen[at * labels + label];
                    break;
                }
            if (by >= 0) {
                const int64_t start = arcs->starts[first_arc + by] - offset;
                for (at--; at > start; at--) tags[offset + at] = chain->order[chain->spans[4 * (int64_t)label + 1]];
                column = chain->spans[4 * (int64_t)label];
                at++;
            } else if (at) {
                column = source_of(chain, values + (at - 1) * padded, column, closing);
            }
        }
        offset += length;
    }
    free(own), free(values), free(closing), free(chosen);
    return failed;
}

static double add_logs(double a, double b) {
    const double top = a > b ? a : b;
    return top == -INFINITY ? top : top + log(exp(a - top) + exp(b - top));
}

/* Compute log(exp(state) @ exp(table)) for a dense table, (rows, padded); shares is exp(table - peaks), (rows, padded). */
INLINE void log_product(const double *state, int rows, const float *table, const float *shares, const float *peaks,
                        int columns, double *found, float *sums) {
    const int padded = PADDED(columns);
    double top = -INFINITY;
    for (int r = 0; r < rows; r++) top = state[r] > top ? state[r] : top;
    if (top == -INFINITY) {
        for (int c = 0; c < columns; c++) found[c] = -INFINITY;
        return;
    }
    memset(sums, 0, sizeof(float) * padded);
    for (int r = 0; r < rows; r++) {
        const float share = (float)exp(state[r] - top);
        const float *row = shares + (int64_t)r * padded;
        if (share > 0.0f)
            for (int c = 0; c < padded; c++) sums[c] += share * row[c];
    }
    for (int c = 0; c < columns; c++) {
        if (sums[c] > 1e-25f) {
            found[c] = top + peaks[c] + log(sums[c]);
            continue;
        }
        double exact = -INFINITY; /* the float sum may have underflowed, or no path leads here */
        for (int r = 0; r < rows; r++)
            if (table[(int64_t)r * padded + c] > -INFINITY) exact = add_logs(exact, state[r] + table[(int64_t)r * padded + c]);
        found[c] = exact;
    }
}

static void share_out(const float *table, int rows, int columns, float *shares, float *peaks) {
    const int padded = PADDED(columns);
    for (int c = 0; c < columns; c++) {
        peaks[c] = -FLT_MAX;
        for (int r = 0; r < rows; r++) peaks[c] = larger(table[(int64_t)r * padded + c], peaks[c]);
    }
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < padded; c++)
            shares[(int64_t)r * padded + c] = c < columns ? expf(table[(int64_t)r * padded + c] - peaks[c]) : 0.0f;
}

/* Compute the marginal probability of each tag at each character of the concatenated texts, (characters, tags); NaN for texts
   without a legal path. Return 0, or 1 if there is not enough memory. */
EXPORT FOR_EACH_PROCESSOR int zhseq_tag_probabilities(const chain_t *chain, const sequences_t *texts, float *odds) {
    const int tags = chain->tags, padded = PADDED(tags), rows = chain->rows, width = chain->width;
    const int most = padded + LANES;
    const int64_t table = (int64_t)rows * PADDED(width), turned = (int64_t)width * PADDED(rows), longest = texts->length;
    float *floats = malloc(sizeof(float) * (longest * padded + table + turned + 3 * (int64_t)most));
    double *doubles = malloc(sizeof(double) * (longest * tags + 3 * (int64_t)most));
    const int failed = floats == NULL || doubles == NULL;
    int64_t offset = 0;
    if (!failed) {
        float *own = floats, *shares = own + longest * padded, *turned_shares = shares + table;
        float *peaks = turned_shares + turned, *turned_peaks = peaks + most, *sums = turned_peaks + most;
        double *forward = doubles, *state = forward + longest * tags, *found = state + most, *part = found + most;
        share_out(chain->across, rows, width, shares, peaks);
        share_out(chain->into, width, rows, turned_shares, turned_peaks);
        for (int64_t text = 0; text < texts->batch; text++) {
            const int64_t length = texts->lengths[text];
            const double peak = own_scores(chain, texts->emissions + text * longest * tags, length,
                                           texts->kinds == NULL ? NULL : texts->kinds + offset, texts->penalties, own);
            for (int64_t at = 0; at < length; at++) {
                double *after = forward + at * tags;
                if (at) {
                    const double *before = after - tags;
                    for (int c = 0; c < tags; c++) after[c] = -INFINITY;
                    log_product(before + chain->first_row, rows, chain->across, shares, peaks, width, after, sums);
                    for (int way = 0; way < chain->ways; way++)
                        for (int c = chain->inner_begin; c < tags; c++) {
                            const float inner = chain->inner[(int64_t)way * padded + c];
                            const int from = chain->inner_from[(int64_t)way * padded + c];
                            if (inner > -INFINITY) after[c] = add_logs(after[c], before[from] + inner);
                        }
                    for (int c = 0; c < tags; c++) after[c] += own[at * padded + c];
                } else {
                    for (int c = 0; c < tags; c++) after[c] = (double)own[c] + chain->start[c];
                }
            }
            for (int c = 0; c < tags; c++) found[c] = chain->end[c];
            for (int64_t at = length - 1; at >= 0; at--) {
                const double *here = forward + at * tags;
                float *result = odds + (offset + at) * tags;
                double top = -INFINITY, total = 0.0;
                for (int c = 0; c < tags; c++) {
                    part[c] = here[c] + found[c];
                    top = part[c] > top ? part[c] : top;
                }
                for (int c = 0; c < tags; c++) total += part[c] = exp(part[c] - top);
                for (int c = 0; c < tags; c++)
                    result[chain->order[c]] = isnan(peak) ? NAN : (float)(part[c] / total);
                if (!at) break;
                for (int c = 0; c < tags; c++) state[c] = found[c] + own[at * padded + c];
                for (int c = 0; c < tags; c++) found[c] = -INFINITY;
                log_product(state, width, chain->into, turned_shares, turned_peaks, rows, found + chain->first_row, sums);
                for (int way = 0; way < chain->ways; way++)
                    for (int c = chain->inner_begin; c < tags; c++) {
                        const float inner = chain->inner[(int64_t)way * padded + c];
                        const int from = chain->inner_from[(int64_t)way * padded + c];
                        if (inner > -INFINITY) found[from] = add_logs(found[from], state[c] + inner);
                    }
            }
            offset += length;
        }
    }
    free(floats), free(doubles);
    return failed;
}

/* Return the hash of the sources of this library, so that a library of other sources is not used. */
EXPORT const char *zhseq_source(void) { return ZHSEQ_SOURCE; }
