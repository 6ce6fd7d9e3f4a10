/* Huffman decoding of plain sequential scans, which takes most of the time of a JPEG. libjpeg looks up a code, then reads the bits of
 * its value; here one lookup returns run, value and total length if they are short. An MCU with anything unusual in it (a marker, an
 * invalid code, too many coefficients, the end of the file close by) is left to libjpeg unchanged, so that errors, warnings and the
 * treatment of damaged bytes are libjpeg's. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define JPEG_INTERNALS
#include <jpeglib.h>

#include <jdhuff.h>

enum {
  LOOK = 10, /* bits per lookup */
  BLOCK_BYTES = 640, /* the longest block in bytes, and the read-ahead */
  LIBJPEGS_BLOCK_BYTES = 512, /* libjpeg's limit: with fewer bytes left it uses its slow path */
  LONGEST = 16 /* bits of the longest code */
};

/* Table entries: the value in the upper half, then its kind, the zeros before it, and the number of bits. */
enum { LONG = 0, WHOLE = 1 << 12, CODE = 2 << 12, ZEROS = 3 << 12, END = 4 << 12, KIND = 7 << 12 };
#define BITS(entry) ((entry) & 0xFF)
#define RUN(entry) ((entry) >> 8 & 15)
#define VALUE(entry) ((int32_t)(entry) >> 16)

/* Mirrors the fields of libjpeg's decoder in jdhuff.c. */
typedef struct {
  struct jpeg_entropy_decoder methods;
  bitread_perm_state window;
  int dc[MAX_COMPS_IN_SCAN];
  unsigned int until_restart;
  d_derived_tbl *dc_tables[NUM_HUFF_TBLS], *ac_tables[NUM_HUFF_TBLS];
  d_derived_tbl *dc_of[D_MAX_BLOCKS_IN_MCU], *ac_of[D_MAX_BLOCKS_IN_MCU];
  boolean needs_dc[D_MAX_BLOCKS_IN_MCU], needs_ac[D_MAX_BLOCKS_IN_MCU];
} libjpegs;

/* libjpeg's decoder, and the additional state of this one. */
typedef struct {
  libjpegs decoder;
  boolean (*decode_mcu)(j_decompress_ptr, JBLOCKROW *);
  const uint32_t *dc[D_MAX_BLOCKS_IN_MCU], *ac[D_MAX_BLOCKS_IN_MCU];
} own;

/* The next bits of the scan, the first in the highest position; only `left` of them are valid. */
typedef struct {
  uint64_t bits;
  unsigned left;
  const uint8_t *next;
} stream;

/* Refills to at least 56 bits; returns 0 before a marker. */
static inline int fill(stream *s) {
  const uint8_t *p = s->next;
  uint64_t eight = (uint64_t)p[0] << 56 | (uint64_t)p[1] << 48 | (uint64_t)p[2] << 40 | (uint64_t)p[3] << 32 |
                   (uint64_t)p[4] << 24 | (uint64_t)p[5] << 16 | (uint64_t)p[6] << 8 | p[7];
  if (((~eight - 0x0101010101010101u) & eight & 0x8080808080808080u) == 0) {
    s->bits |= eight >> s->left;
    s->next += (63 - s->left) >> 3;
    s->left |= 56;
    return 1;
  }
  for (; s->left < 56; s->left += 8) {
    uint8_t byte = *s->next++;
    if (byte == 0xFF && *s->next++ != 0) return 0;
    s->bits |= (uint64_t)byte << (56 - s->left);
  }
  return 1;
}

static inline void take(stream *s, unsigned bits) {
  s->bits <<= bits;
  s->left -= bits;
}

/* Reads a value of `bits` bits, at least 1. */
static inline int value(stream *s, unsigned bits) {
  int x = (int)(s->bits >> (64 - bits));
  take(s, bits);
  return x >> (bits - 1) ? x : x - (1 << bits) + 1;
}

/* Returns the symbol of a code that is longer than LOOK; -1 if it is invalid. */
static int long_symbol(stream *s, const d_derived_tbl *table) {
  for (unsigned bits = LOOK + 1; bits <= LONGEST; bits++) {
    JLONG code = (JLONG)(s->bits >> (64 - bits));
    if (code > table->maxcode[bits]) continue;
    take(s, bits);
    return table->pub->huffval[(code + table->valoffset[bits]) & 0xFF];
  }
  return -1;
}

static inline int dc_difference(stream *s, const uint32_t *table, const d_derived_tbl *codes, int *difference) {
  if (!fill(s)) return 0;
  uint32_t entry = table[s->bits >> (64 - LOOK)];
  int size;
  switch (entry & KIND) {
  case WHOLE:
    take(s, BITS(entry));
    *difference = VALUE(entry);
    return 1;
  case CODE:
    take(s, BITS(entry));
    size = VALUE(entry);
    break;
  default:
    size = long_symbol(s, codes);
    if (size < 0 || size > 15) return 0;
  }
  *difference = size ? value(s, size) : 0;
  return 1;
}

static inline int ac_coefficients(stream *s, const uint32_t *table, const d_derived_tbl *codes, JCOEF *block) {
  unsigned k = 1;
  while (k < DCTSIZE2) {
    if (!fill(s)) return 0;
    uint32_t entry = table[s->bits >> (64 - LOOK)];
    /* As many codes as fit into 56 bits. */
    for (int n = 0; n < 4 && (entry & KIND) == WHOLE; n++) {
      take(s, BITS(entry));
      k += RUN(entry);
      if (k >= DCTSIZE2) return 0;
      block[jpeg_natural_order[k++]] = (JCOEF)VALUE(entry);
      if (k == DCTSIZE2) return 1;
      entry = table[s->bits >> (64 - LOOK)];
    }
    if ((entry & KIND) == END) {
      take(s, BITS(entry));
      return 1;
    }
    if (s->left < LONGEST + 15) continue;
    unsigned run, size;
    switch (entry & KIND) {
    case WHOLE:
      continue;
    case ZEROS:
      take(s, BITS(entry));
      k += 16;
      continue;
    case CODE:
      take(s, BITS(entry));
      run = RUN(entry), size = VALUE(entry);
      break;
    default: {
      int symbol = long_symbol(s, codes);
      if (symbol < 0) return 0;
      run = symbol >> 4, size = symbol & 15;
      if (!size) {
        if (run != 15) return 1;
        k += 16;
        continue;
      }
    }
    }
    k += run;
    if (k >= DCTSIZE2) return 0;
    block[jpeg_natural_order[k++]] = (JCOEF)value(s, size);
  }
  return 1;
}

static int decode(j_decompress_ptr jpeg, own *o, JBLOCKROW *blocks) {
  libjpegs *d = &o->decoder;
  unsigned left = d->window.bits_left;
  stream s = {left ? (uint64_t)d->window.get_buffer << (64 - left) : 0, left, jpeg->src->next_input_byte};
  int dc[MAX_COMPS_IN_SCAN];
  memcpy(dc, d->dc, sizeof dc);
  for (int b = 0; b < jpeg->blocks_in_MCU; b++) {
    JCOEF *block = *blocks[b];
    int difference;
    if (!dc_difference(&s, o->dc[b], d->dc_of[b], &difference)) return 0;
    int component = jpeg->MCU_membership[b];
    dc[component] = (int)((unsigned)dc[component] + (unsigned)difference);
    block[0] = (JCOEF)dc[component];
    if (!ac_coefficients(&s, o->ac[b], d->ac_of[b], block)) return 0;
  }
  d->window.get_buffer = s.left ? (bit_buf_type)(s.bits >> (64 - s.left)) : 0;
  d->window.bits_left = s.left;
  memcpy(d->dc, dc, sizeof dc);
  jpeg->src->bytes_in_buffer -= s.next - jpeg->src->next_input_byte;
  jpeg->src->next_input_byte = s.next;
  return 1;
}

static boolean decode_mcu(j_decompress_ptr jpeg, JBLOCKROW *blocks) {
  own *o = (own *)jpeg->entropy;
  libjpegs *d = &o->decoder;
  int restarts = jpeg->restart_interval != 0;
  int is_plain = !(restarts && d->until_restart == 0) && !d->methods.insufficient_data && jpeg->unread_marker == 0 &&
                 jpeg->src->bytes_in_buffer >= (size_t)BLOCK_BYTES * jpeg->blocks_in_MCU && d->window.bits_left < 64 && blocks;
  if (is_plain) {
    if (decode(jpeg, o, blocks)) {
      if (restarts) d->until_restart--;
      return TRUE;
    }
    for (int b = 0; b < jpeg->blocks_in_MCU; b++) memset(*blocks[b], 0, sizeof(JBLOCK));
  }
  return (*o->decode_mcu)(jpeg, blocks);
}

/* Fills the table: an entry for each value of LOOK bits. */
static uint32_t *entries(j_decompress_ptr jpeg, const JHUFF_TBL *table, int is_ac) {
  size_t size = sizeof(uint32_t) << LOOK;
  uint32_t *made = (*jpeg->mem->alloc_small)((j_common_ptr)jpeg, JPOOL_IMAGE, size), *to = made;
  memset(made, 0, size);
  const UINT8 *symbol = table->huffval;
  for (unsigned bits = 1; bits <= LOOK; bits++)
    for (int n = table->bits[bits]; n > 0; n--, symbol++) {
      unsigned run = is_ac ? *symbol >> 4 : 0, size = is_ac ? *symbol & 15 : *symbol, rest = LOOK - bits;
      for (uint32_t after = 0; after < 1u << rest; after++, to++) {
        if (to == made + (1 << LOOK)) return made;
        if (size == 0 && is_ac) {
          *to = (run == 15 ? ZEROS : END) | bits;
        } else if (size <= rest) {
          stream s = {(uint64_t)after << (64 - rest - !rest), 64, NULL};
          *to = (uint32_t)(size ? value(&s, size) : 0) << 16 | WHOLE | run << 8 | (bits + size);
        } else {
          *to = size << 16 | CODE | run << 8 | bits;
        }
      }
    }
  return made;
}

/* Returns 1 if the scan ends properly. In damaged scans, the length of libjpeg's read-ahead decides whether it misses a marker, what it
 * leaves in a block that it decodes twice, and whether the bytes suffice for the last MCUs; the read-ahead here has another length. So a
 * scan without restarts must have no marker except the end of the image, which no MCU reaches; a scan with restarts must have a marker at
 * which the search for the next restart stops. Only the number of extraneous bytes that libjpeg reports before a marker may differ. */
static int is_whole(j_decompress_ptr jpeg) {
  int restarts = jpeg->restart_interval != 0;
  const uint8_t *at = jpeg->src->next_input_byte, *end = at + jpeg->src->bytes_in_buffer;
  while ((at = memchr(at, 0xFF, end - at)) && end - at > 1) {
    int mark = at[1];
    if (mark == 0 || (restarts && (mark < 0xC0 || (mark >= JPEG_RST0 && mark <= JPEG_RST0 + 7)))) at += 2;
    else if (restarts && mark == 0xFF) at++;
    else return restarts || (mark == JPEG_EOI && end - at < LIBJPEGS_BLOCK_BYTES * jpeg->blocks_in_MCU);
  }
  return 0;
}

/* Replaces libjpeg's decoder if the only scan of a file is plain. To be called once decompression has started. */
void sassl_decode_huffman(j_decompress_ptr jpeg) {
  libjpegs *d = (libjpegs *)jpeg->entropy;
  if (jpeg->progressive_mode || jpeg->arith_code || jpeg->inputctl->has_multiple_scans || sizeof(bit_buf_type) != 8) return;
  if (!is_whole(jpeg)) return;
  own *o = (*jpeg->mem->alloc_small)((j_common_ptr)jpeg, JPOOL_IMAGE, sizeof(own));
  const uint32_t *dc[NUM_HUFF_TBLS] = {NULL}, *ac[NUM_HUFF_TBLS] = {NULL};
  for (int b = 0; b < jpeg->blocks_in_MCU; b++) {
    const jpeg_component_info *component = jpeg->cur_comp_info[jpeg->MCU_membership[b]];
    int i = component->dc_tbl_no, j = component->ac_tbl_no;
    /* Where only DC coefficients are needed (1/8 of the size), libjpeg itself skips the rest. */
    if (!d->needs_dc[b] || !d->needs_ac[b]) return;
    if (!dc[i]) dc[i] = entries(jpeg, jpeg->dc_huff_tbl_ptrs[i], 0);
    if (!ac[j]) ac[j] = entries(jpeg, jpeg->ac_huff_tbl_ptrs[j], 1);
    o->dc[b] = dc[i];
    o->ac[b] = ac[j];
  }
  o->decoder = *d;
  o->decode_mcu = d->methods.decode_mcu;
  o->decoder.methods.decode_mcu = decode_mcu;
  jpeg->entropy = &o->decoder.methods;
}
