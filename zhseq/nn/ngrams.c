/* Look up dictionary words and bigrams of texts for zhseq.tagging.features, which documents the result. Called only by that
   module, with arrays that it has validated: C order, the types below, consistent sizes.

   The result is bit for bit that of the numpy code: sums are computed two numbers at a time, in the same order. */

#include <stdint.h>
#include <string.h>

#include "portable.h"

/* All fields have 64 bits. */
typedef struct {
    const uint64_t *hashes;  /* sorted; the last one is a sentinel, greater than any hash that is looked up */
    const int32_t *rows;     /* row of the embedding table for each hash */
    const uint8_t *possible; /* bitmap over the first bits of a hash: whether such a hash exists */
    const int32_t *first;    /* by the first bits of a hash: index in hashes at which to start */
    int64_t possible_shift, first_shift; /* shifts that yield the first bits for possible and first */
} ngrams_t;

typedef struct {
    int64_t longest, slots;       /* maximum length of a word; columns of each of the four sets of a character */
    const ngrams_t *const *words; /* (longest): words of each length, or NULL if there are none */
    const float *weights;         /* weight of each row */
    const ngrams_t *pairs;        /* bigrams, or NULL */
} lookup_t;

INLINE uint64_t mixed(uint32_t point) {
    uint64_t found = ((uint64_t)point + 1) * 0xBF58476D1CE4E5B9u;
    found ^= found >> 29;
    found *= 0x94D049BB133111EBu;
    return found ^ found >> 32;
}

INLINE int32_t row_of(const ngrams_t *ngrams, uint64_t hash) {
    const uint64_t bit = hash >> ngrams->possible_shift;
    if (!(ngrams->possible[bit >> 3] >> (bit & 7) & 1)) return 0;
    int64_t at = ngrams->first[hash >> ngrams->first_shift];
    while (ngrams->hashes[at] < hash) at++;
    return ngrams->hashes[at] == hash ? ngrams->rows[at] : 0;
}

/* Write a word into the sets of its characters; words is that of the first one. inside: first slot of words of this length. */
INLINE void put_word(int32_t *words, int64_t slots, int64_t length, int64_t inside, int32_t row) {
    const int64_t columns = 4 * slots;
    if (length == 1) {
        words[3 * slots] = row;
        return;
    }
    words[length - 2] = row;
    words[(length - 1) * columns + 2 * slots + length - 2] = row;
    for (int64_t at = 1; at < length - 1; at++) words[at * columns + slots + inside + at - 1] = row;
}

/* Look up the words and bigrams of concatenated texts.
   words, shares: (characters, 4 * slots), words initialised with 0; pairs: (characters). */
EXPORT void zhseq_look_up(const lookup_t *tables, int64_t texts, const int64_t *lengths, const uint32_t *points, int32_t *pairs,
                          int32_t *words, float *shares) {
    const int64_t slots = tables->slots, columns = 4 * slots;
    for (int64_t text = 0; text < texts; points += lengths[text], text++) {
        const int64_t length = lengths[text];
        for (int64_t at = 0; at < length; at++) {
            const int64_t most = tables->longest < length - at ? tables->longest : length - at;
            uint64_t hash = mixed(points[at]);
            if (tables->pairs != NULL)
                *pairs++ = at + 1 < length ? row_of(tables->pairs, hash * 0x9E3779B97F4A7C15u + mixed(points[at + 1])) : 0;
            for (int64_t n = 1, inside = 0; n <= most; n++) {
                if (n > 1) hash = hash * 0x9E3779B97F4A7C15u + mixed(points[at + n - 1]);
                const ngrams_t *ngrams = tables->words[n - 1];
                if (ngrams == NULL) continue;
                const int32_t row = row_of(ngrams, hash);
                if (row) put_word(words + at * columns, slots, n, inside, row);
                inside += n > 2 ? n - 2 : 0;
            }
        }
        for (int64_t at = 0; tables->longest && at < length; at++, words += columns, shares += columns) {
            float total = 0.0f;
            for (int64_t slot = 0; slot < columns; slot++) total += tables->weights[words[slot]];
            const float factor = 4.0f / (total > 1e-6f ? total : 1e-6f);
            for (int64_t slot = 0; slot < columns; slot++) shares[slot] = tables->weights[words[slot]] * factor;
        }
    }
}
