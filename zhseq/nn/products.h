/* Products of 8-bit vectors and 8-bit matrices for encoder.c and poem.c. Sums are exact, so that the results are the same with all
   instruction sets.

   Numbers of a vector are stored with an offset of 128, because the instructions multiply unsigned by signed bytes. This adds the
   same to the products of all vectors, which is compensated by starting each sum at -128 times the sum of the weights of its
   column. Two adjacent weights, whose products AVX2 (maddubs) adds in 16 bits, sum to at most 128 in absolute value, so 255 times
   as much does not saturate. */

#define BLOCK 64 /* columns of a tile, and the multiple to which inputs are padded */
#define LANES 16 /* columns of a tile after the last whole BLOCK, and the multiple to which outputs are padded */
#define TILE 16  /* maximum number of rows of a tile */
#define MOST 64  /* maximum number of vectors that are multiplied with a matrix at once */

enum { PLAIN, AVX2, VNNI, AMX }; /* instruction sets */

/* All fields have 64 bits. */
typedef struct {
    int64_t inputs, outputs; /* multiples of BLOCK and of LANES */
    int64_t used;            /* inputs before the padding, rounded up to a multiple of 8 */
    const int8_t *weights;   /* for each BLOCK, at the end for each LANES, of columns: (inputs / 4, columns, 4), from -127 to 127 */
    const int32_t *starts;   /* (outputs): initial values of the sums */
    const float *scales;     /* (outputs): value of a weight of 1 */
    const float *bias;       /* (outputs) */
} matrix_t;

/* Quantised vectors. */
typedef struct {
    uint8_t *values;     /* (rows, stride), with an offset of 128; rows up to a multiple of TILE may be read */
    const float *scales; /* (rows): value of a number of 1 */
    int64_t stride;
} vectors_t;

/* A tile: rows of vectors by columns of a matrix. */
typedef struct {
    int64_t column, first; /* first column, first row */
    int width, count;      /* number of columns, BLOCK or LANES; number of rows, at most TILE, 0 after the last tile */
} tile_t;

/* Return the tile after another one: the next rows of the same columns, else the first rows of the next columns. */
INLINE tile_t next_tile(const matrix_t *matrix, int64_t rows, tile_t tile) {
    tile.first += tile.count;
    if (tile.first == rows || tile.count == 0) tile.first = 0, tile.column += tile.width;
    const int64_t left = matrix->outputs - tile.column, rows_left = rows - tile.first;
    tile.width = left >= BLOCK ? BLOCK : left > 0 ? LANES : 0;
    tile.count = left == 0 ? 0 : rows_left < TILE ? (int)rows_left : TILE;
    return tile;
}

INLINE tile_t first_tile(const matrix_t *matrix, int64_t rows) { return next_tile(matrix, rows, (tile_t){0, 0, 0, 0}); }

static void plain_product(const matrix_t *matrix, tile_t tile, const uint8_t *rows, int64_t stride, int32_t *acc) {
    for (int r = 0; r < tile.count; r++, rows += stride, acc += tile.width) {
        const int8_t *weights = matrix->weights + tile.column * matrix->inputs;
        memcpy(acc, matrix->starts + tile.column, sizeof(int32_t) * tile.width);
        for (int64_t k = 0; k < matrix->used; k += 4, weights += 4 * tile.width)
            for (int c = 0; c < tile.width; c++)
                acc[c] += weights[4 * c] * rows[k] + weights[4 * c + 1] * rows[k + 1] + weights[4 * c + 2] * rows[k + 2] +
                          weights[4 * c + 3] * rows[k + 3];
    }
}

#if HAS_VECTORS
#define TARGET_AVX2 __attribute__((target("avx2,fma")))
#define TARGET_VNNI __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))

/* Multiply up to 4 rows with LANES of the `width` columns of a tile. */
TARGET_AVX2 INLINE void avx2_rows(const int8_t *weights, int64_t used, int width, const int32_t *starts, const uint8_t *rows,
                                  int64_t stride, const int count, int32_t *acc) {
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i sums[4][2];
#pragma GCC unroll 4
    for (int r = 0; r < count; r++)
        for (int c = 0; c < 2; c++) sums[r][c] = _mm256_loadu_si256((const __m256i *)(starts + 8 * c));
    for (int64_t k = 0; k < used; k += 4, weights += 4 * width) {
        const __m256i w0 = _mm256_loadu_si256((const __m256i *)weights), w1 = _mm256_loadu_si256((const __m256i *)(weights + 32));
#pragma GCC unroll 4
        for (int r = 0; r < count; r++) {
            int32_t four;
            memcpy(&four, rows + r * stride + k, 4);
            const __m256i a = _mm256_set1_epi32(four);
            sums[r][0] = _mm256_add_epi32(sums[r][0], _mm256_madd_epi16(_mm256_maddubs_epi16(a, w0), ones));
            sums[r][1] = _mm256_add_epi32(sums[r][1], _mm256_madd_epi16(_mm256_maddubs_epi16(a, w1), ones));
        }
    }
#pragma GCC unroll 4
    for (int r = 0; r < count; r++)
        for (int c = 0; c < 2; c++) _mm256_storeu_si256((__m256i *)(acc + r * width + 8 * c), sums[r][c]);
}

TARGET_AVX2 static void avx2_product(const matrix_t *matrix, tile_t tile, const uint8_t *rows, int64_t stride, int32_t *acc) {
    for (int c = 0; c < tile.width; c += LANES) {
        const int8_t *weights = matrix->weights + tile.column * matrix->inputs + 4 * c;
        const int32_t *starts = matrix->starts + tile.column + c;
        int r = 0;
        for (; r + 4 <= tile.count; r += 4)
            avx2_rows(weights, matrix->used, tile.width, starts, rows + r * stride, stride, 4, acc + r * tile.width + c);
        for (; r < tile.count; r++)
            avx2_rows(weights, matrix->used, tile.width, starts, rows + r * stride, stride, 1, acc + r * tile.width + c);
    }
}

/* Multiply rows with `vectors` times LANES columns; count * vectors is at most 24, to keep all sums in registers. */
TARGET_VNNI INLINE void vnni_rows(const int8_t *weights, int64_t used, const int32_t *starts, const uint8_t *rows, int64_t stride,
                                  const int count, const int vectors, int32_t *acc) {
    __m512i sums[TILE][4];
#pragma GCC unroll 16
    for (int r = 0; r < count; r++)
#pragma GCC unroll 4
        for (int c = 0; c < vectors; c++) sums[r][c] = _mm512_loadu_si512(starts + LANES * c);
    for (int64_t k = 0; k < used; k += 4, weights += 4 * LANES * vectors) {
        __m512i w[4];
#pragma GCC unroll 4
        for (int c = 0; c < vectors; c++) w[c] = _mm512_loadu_si512(weights + 4 * LANES * c);
#pragma GCC unroll 16
        for (int r = 0; r < count; r++) {
            int32_t four;
            memcpy(&four, rows + r * stride + k, 4);
            const __m512i a = _mm512_set1_epi32(four);
#pragma GCC unroll 4
            for (int c = 0; c < vectors; c++) sums[r][c] = _mm512_dpbusd_epi32(sums[r][c], a, w[c]);
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < count; r++)
#pragma GCC unroll 4
        for (int c = 0; c < vectors; c++) _mm512_storeu_si512(acc + LANES * (r * vectors + c), sums[r][c]);
}

/* Multiply one row with BLOCK columns, in two halves whose sums do not depend on each other. */
TARGET_VNNI static void vnni_row(const int8_t *weights, int64_t used, const int32_t *starts, const uint8_t *row, int32_t *acc) {
    __m512i sums[8];
#pragma GCC unroll 8
    for (int c = 0; c < 8; c++) sums[c] = c < 4 ? _mm512_loadu_si512(starts + LANES * c) : _mm512_setzero_si512();
    for (int64_t k = 0; k < used; k += 8, weights += 8 * BLOCK) {
        int32_t four[2];
        memcpy(four, row + k, 8);
        const __m512i a = _mm512_set1_epi32(four[0]), b = _mm512_set1_epi32(four[1]);
#pragma GCC unroll 8
        for (int c = 0; c < 8; c++) sums[c] = _mm512_dpbusd_epi32(sums[c], c < 4 ? a : b, _mm512_loadu_si512(weights + 64 * c));
    }
#pragma GCC unroll 4
    for (int c = 0; c < 4; c++) _mm512_storeu_si512(acc + LANES * c, _mm512_add_epi32(sums[c], sums[4 + c]));
}

TARGET_VNNI static void vnni_product(const matrix_t *matrix, tile_t tile, const uint8_t *rows, int64_t stride, int32_t *acc) {
    const int8_t *weights = matrix->weights + tile.column * matrix->inputs;
    const int32_t *starts = matrix->starts + tile.column;
    const int64_t used = matrix->used;
    int count = tile.count;
    if (tile.width == LANES) {
        for (; count >= 8; count -= 8, rows += 8 * stride, acc += 8 * LANES)
            vnni_rows(weights, used, starts, rows, stride, 8, 1, acc);
        for (; count > 0; count--, rows += stride, acc += LANES) vnni_rows(weights, used, starts, rows, stride, 1, 1, acc);
        return;
    }
    for (; count >= 6; count -= 6, rows += 6 * stride, acc += 6 * BLOCK) vnni_rows(weights, used, starts, rows, stride, 6, 4, acc);
    switch (count) {
    case 5: vnni_rows(weights, used, starts, rows, stride, 5, 4, acc); break;
    case 4: vnni_rows(weights, used, starts, rows, stride, 4, 4, acc); break;
    case 3: vnni_rows(weights, used, starts, rows, stride, 3, 4, acc); break;
    case 2: vnni_rows(weights, used, starts, rows, stride, 2, 4, acc); break;
    case 1: vnni_row(weights, used, starts, rows, acc); break;
    default: break;
    }
}

#define AMX_ROWS 4 /* minimum number of rows for which AMX is faster than VNNI */

static const struct {
    uint8_t palette, start, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
} eight_tiles = {1, 0, {0}, {64, 64, 64, 64, 64, 64, 64, 64}, {TILE, TILE, TILE, TILE, TILE, TILE, TILE, TILE}};

__attribute__((target("amx-tile"))) static void shape_tiles(void) { _tile_loadconfig(&eight_tiles); }

__attribute__((target("amx-tile"))) static void release_tiles(void) { _tile_release(); }

/* Multiply with tile registers of 64 inputs of each row; a stride of 0 loads the same initial sums into all rows. */
__attribute__((target("amx-tile,amx-int8"))) static void amx_product(const matrix_t *matrix, tile_t tile, const uint8_t *rows,
                                                                     int64_t stride, int32_t *acc) {
    const int8_t *weights = matrix->weights + tile.column * matrix->inputs;
    const int32_t *starts = matrix->starts + tile.column;
    _tile_loadd(0, starts, 0);
    if (tile.width == LANES) {
        for (int64_t k = 0; k < matrix->inputs; k += 64, weights += 64 * LANES) {
            _tile_loadd(4, rows + k, stride);
            _tile_loadd(5, weights, 4 * LANES); _tile_dpbusd(0, 4, 5);
        }
        _tile_stored(0, acc, 4 * LANES);
        return;
    }
    _tile_loadd(1, starts + 16, 0); _tile_loadd(2, starts + 32, 0); _tile_loadd(3, starts + 48, 0);
    for (int64_t k = 0; k < matrix->inputs; k += 64, weights += 64 * BLOCK) {
        _tile_loadd(4, rows + k, stride);
        _tile_loadd(5, weights, 4 * BLOCK); _tile_dpbusd(0, 4, 5);
        _tile_loadd(6, weights + 64, 4 * BLOCK); _tile_dpbusd(1, 4, 6);
        _tile_loadd(7, weights + 128, 4 * BLOCK); _tile_dpbusd(2, 4, 7);
        _tile_loadd(5, weights + 192, 4 * BLOCK); _tile_dpbusd(3, 4, 5);
    }
    _tile_stored(0, acc, 4 * BLOCK); _tile_stored(1, acc + 16, 4 * BLOCK);
    _tile_stored(2, acc + 32, 4 * BLOCK); _tile_stored(3, acc + 48, 4 * BLOCK);
}
#endif

/* Multiply a tile; the sums are written to acc, (TILE, width). */
INLINE void multiply_tile(int level, const matrix_t *matrix, tile_t tile, vectors_t rows, int32_t *acc) {
    const uint8_t *values = rows.values + tile.first * rows.stride;
#if HAS_VECTORS
    if (level == AMX && tile.count >= AMX_ROWS)
        amx_product(matrix, tile, values, rows.stride, acc);
    else if (level >= VNNI)
        vnni_product(matrix, tile, values, rows.stride, acc);
    else if (level == AVX2)
        avx2_product(matrix, tile, values, rows.stride, acc);
    else
#endif
        plain_product(matrix, tile, values, rows.stride, acc);
}

/* ---- 8-bit vectors ---- */

#define SHIFT 12582912.0f /* 1.5 * 2**23; adding it to a float rounds to an integer, in the lowest bits of the sum */

typedef union {
    float value;
    int32_t bits;
} float_bits_t;

/* Round to an integer with an offset of 128, as in vectors_t. */
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

/* Output location of products: each BLOCK of columns is contiguous. */
typedef struct {
    float *numbers;
    int64_t row, block; /* strides between rows and between blocks */
    int64_t columns;    /* number of columns that are written */
} place_t;

/* Write the products of rows and a matrix to a place, with the bias of the matrix, or add them (without bias) if `add`. */
INLINE void multiply(int level, const matrix_t *matrix, vectors_t rows, int64_t count, place_t place, const int add) {
    int32_t acc[2][TILE * BLOCK];
    tile_t tile = first_tile(matrix, count), last = {0, 0, 0, 0};
    for (int turn = 0; tile.count || last.count; turn = !turn) { /* scale the sums of one tile while the next is multiplied */
        if (tile.count) multiply_tile(level, matrix, tile, rows, acc[turn]);
        const float *scales = matrix->scales + last.column, *bias = matrix->bias + last.column;
        for (int r = 0; r < last.count; r++) {
            const int64_t row = last.first + r;
            const float scale = rows.scales[row];
            const int32_t *sums = acc[!turn] + r * last.width;
            float *found = place.numbers + row * place.row + last.column / BLOCK * place.block + last.column % BLOCK;
            for (int first = 0; first < last.width; first += LANES) {
                const int64_t left = place.columns - last.column - first;
                if (left < LANES) {
                    for (int c = first; c < first + left; c++)
                        found[c] = (float)sums[c] * (scales[c] * scale) + (add ? found[c] : bias[c]);
                    break;
                }
#pragma omp simd
                for (int c = first; c < first + LANES; c++)
                    found[c] = (float)sums[c] * (scales[c] * scale) + (add ? found[c] : bias[c]);
            }
        }
        last = tile, tile = next_tile(matrix, count, tile);
    }
}
