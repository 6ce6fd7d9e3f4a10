/* Reads a JPEG with libjpeg. `setjmp` stays here: no error in C jumps over a Rust frame, and no panic in Rust crosses a C frame.
 *
 * Once decompression is set up, the methods that compute pixels are replaced by Rust kernels. They are private to libjpeg, so
 * Cargo.toml pins its version. Outside the requested rectangle these methods return at once; the entropy decoder always reads the
 * whole file, so that the files reported as refused or damaged do not depend on the rectangle. */
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#define JPEG_INTERNALS
#include "jpeglib.h"
#include "jpegcomp.h"
#include "jdct.h"
#include "jdsample.h"

/* Rust kernels in src/kernels/image/jpeg. They write samples and pixels `from` to `to`; they may read one sample more, within `width`. */
typedef struct {
  /* To 1x1, 2x2, 4x4 and 8x8 samples. */
  void (*inverse_dct[4])(const int16_t *coefficients, const uint16_t *quantization, uint8_t *const *rows, size_t column);
  void (*h2v1)(const uint8_t *samples, uint8_t *wide, size_t width, size_t from, size_t to);
  void (*h2v2)(const uint8_t *near, const uint8_t *far, uint8_t *wide, size_t width, size_t from, size_t to);
  void (*ycc_to_rgb)(const uint8_t *const *ycc, uint8_t *pixels, size_t from, size_t to);
  void (*cmyk_to_rgb)(const uint8_t *cmyk, uint8_t *pixels, size_t from, size_t to);
} kernel_table;

/* Mirrors `Request` in reader.rs. */
typedef struct {
  const uint8_t *bytes;
  size_t length;
  uint32_t denominator; /* 1, 2, 4 or 8 */
  uint32_t width, height; /* of the pixels; libjpeg's output must have the same size */
  uint32_t left, top, right, bottom; /* the requested rectangle */
  uint8_t *pixels;
  const kernel_table *kernels;
  long most_memory;
  int most_scans;
  char *damage, *error; /* JMSG_LENGTH_MAX bytes each, all 0 */
} request;

enum outcome { DONE, ENDED, FAILED, NO_MEMORY };

typedef struct {
  struct jpeg_decompress_struct jpeg;
  struct jpeg_error_mgr errors;
  struct jpeg_source_mgr source;
  struct jpeg_progress_mgr progress;
  jmp_buf failed;
  const request *request;
  uint32_t first[MAX_COMPONENTS], last[MAX_COMPONENTS]; /* range of the samples needed in each row, without `last` */
  void (*convert)(j_decompress_ptr, JSAMPIMAGE, JDIMENSION, JSAMPARRAY, int);
} reading;

/* In huffman.c. */
void sassl_decode_huffman(j_decompress_ptr);

#define READING(jpeg) ((reading *)(jpeg)->client_data)

static void fail(j_common_ptr jpeg) {
  (*jpeg->err->format_message)(jpeg, READING(jpeg)->request->error);
  longjmp(READING(jpeg)->failed, jpeg->err->msg_code == JERR_OUT_OF_MEMORY ? NO_MEMORY : FAILED);
}

static void warn(j_common_ptr jpeg, int level) {
  char *damage = READING(jpeg)->request->damage;
  if (level >= 0 || damage[0]) return;
  switch (jpeg->err->msg_code) {
  case JWRN_ARITH_BAD_CODE:
  case JWRN_BOGUS_PROGRESSION:
  case JWRN_EXTRANEOUS_DATA:
  case JWRN_HIT_MARKER:
  case JWRN_HUFF_BAD_CODE:
  case JWRN_JPEG_EOF:
  case JWRN_MUST_RESYNC:
  case JWRN_NOT_SEQUENTIAL:
    (*jpeg->err->format_message)(jpeg, damage);
  }
}

static void say_nothing(j_common_ptr jpeg) { (void)jpeg; }

/* A scan takes a few bytes in the file, but a pass over the whole image to read. */
static void bound_scans(j_common_ptr jpeg) {
  const request *request = READING(jpeg)->request;
  if (((j_decompress_ptr)jpeg)->input_scan_number <= request->most_scans) return;
  snprintf(request->error, JMSG_LENGTH_MAX, "More than %d scans", request->most_scans);
  longjmp(READING(jpeg)->failed, FAILED);
}

/* The source suspends at the end of the bytes, as Pillow's does; failing there would refuse files that Pillow accepts. */
static void start_source(j_decompress_ptr jpeg) { (void)jpeg; }
static boolean no_more_bytes(j_decompress_ptr jpeg) { (void)jpeg; return FALSE; }
static void skip_bytes(j_decompress_ptr jpeg, long n) {
  if (n <= 0) return;
  size_t skipped = (size_t)n < jpeg->src->bytes_in_buffer ? (size_t)n : jpeg->src->bytes_in_buffer;
  jpeg->src->next_input_byte += skipped;
  jpeg->src->bytes_in_buffer -= skipped;
}

/* Returns 1 if any of the rows from `first` up to, but without, `last` are requested. */
static int wants(const request *request, size_t first, size_t last) {
  return first < request->bottom && last > request->top;
}

static void inverse_dct(j_decompress_ptr jpeg, jpeg_component_info *component, JCOEFPTR block, JSAMPARRAY rows, JDIMENSION column) {
  const reading *r = READING(jpeg);
  int size = component->_DCT_scaled_size, c = component->component_index;
  if (column >= r->last[c] || column + size <= r->first[c]) return;
  size_t height = (size_t)jpeg->max_v_samp_factor * jpeg->_min_DCT_scaled_size, top = jpeg->output_iMCU_row * height;
  /* Smooth upsampling reads rows of the groups above and below. */
  size_t margin = 2 * jpeg->max_v_samp_factor;
  if (!wants(r->request, top < margin ? 0 : top - margin, top + height + margin)) return;
  static const UINT16 none[DCTSIZE2];
  const UINT16 *quantization = component->quant_table ? component->quant_table->quantval : none;
  int which = size == 8 ? 3 : size >> 1;
  r->request->kernels->inverse_dct[which](block, quantization, rows, column);
}

static void h2v1(j_decompress_ptr jpeg, jpeg_component_info *component, JSAMPARRAY in, JSAMPARRAY *out) {
  const reading *r = READING(jpeg);
  int rows = jpeg->max_v_samp_factor, c = component->component_index;
  if (!wants(r->request, jpeg->output_scanline, (size_t)jpeg->output_scanline + rows)) return;
  for (int y = 0; y < rows; y++)
    r->request->kernels->h2v1(in[y], (*out)[y], component->downsampled_width, r->first[c], r->last[c]);
}

static void h2v2(j_decompress_ptr jpeg, jpeg_component_info *component, JSAMPARRAY in, JSAMPARRAY *out) {
  const reading *r = READING(jpeg);
  int rows = jpeg->max_v_samp_factor, c = component->component_index;
  if (!wants(r->request, jpeg->output_scanline, (size_t)jpeg->output_scanline + rows)) return;
  for (int y = 0; y < rows; y++) {
    const JSAMPLE *far = in[y % 2 ? y / 2 + 1 : y / 2 - 1];
    r->request->kernels->h2v2(in[y / 2], far, (*out)[y], component->downsampled_width, r->first[c], r->last[c]);
  }
}

static void convert(j_decompress_ptr jpeg, JSAMPIMAGE in, JDIMENSION row, JSAMPARRAY out, int rows) {
  const request *request = READING(jpeg)->request;
  if (!wants(request, jpeg->output_scanline, (size_t)jpeg->output_scanline + 1)) return;
  if (jpeg->jpeg_color_space != JCS_YCbCr) {
    (*READING(jpeg)->convert)(jpeg, in, row, out, rows);
    return;
  }
  const uint8_t *ycc[] = {in[0][row], in[1][row], in[2][row]};
  request->kernels->ycc_to_rgb(ycc, out[0], request->left, request->right);
}

/* Replaces the methods that have a kernel. Upsampling methods are recognized by the conditions on which `jinit_upsampler` selects them. */
static void use_kernels(reading *r) {
  j_decompress_ptr jpeg = &r->jpeg;
  my_upsample_ptr upsample = (my_upsample_ptr)jpeg->upsample;
  int smooth = jpeg->do_fancy_upsampling && jpeg->_min_DCT_scaled_size > 1;
  for (int c = 0; c < jpeg->num_components; c++) {
    jpeg_component_info *component = &jpeg->comp_info[c];
    int across = jpeg->max_h_samp_factor * jpeg->_min_DCT_scaled_size / (component->h_samp_factor * component->_DCT_scaled_size);
    int down = jpeg->max_v_samp_factor * jpeg->_min_DCT_scaled_size / (component->v_samp_factor * component->_DCT_scaled_size);
    uint32_t first = r->request->left / across;
    r->first[c] = first ? first - 1 : 0;
    r->last[c] = (r->request->right + across - 1) / across + 1;
    inverse_DCT_method_ptr method = jpeg->idct->inverse_DCT[c];
    if (method == jpeg_idct_islow || method == jpeg_idct_4x4 || method == jpeg_idct_2x2 || method == jpeg_idct_1x1)
      jpeg->idct->inverse_DCT[c] = inverse_dct;
    if (smooth && component->component_needed && across == 2 && component->downsampled_width > 2) {
      if (down == 1) upsample->methods[c] = h2v1;
      if (down == 2) upsample->methods[c] = h2v2;
    }
  }
  r->convert = jpeg->cconvert->color_convert;
  jpeg->cconvert->color_convert = convert;
}

static enum outcome read_all(reading *r) {
  j_decompress_ptr jpeg = &r->jpeg;
  const request *request = r->request;
  jpeg_create_decompress(jpeg);
  jpeg->mem->max_memory_to_use = request->most_memory;
  jpeg->src = &r->source;
  jpeg->progress = &r->progress;
  int found;
  do found = jpeg_read_header(jpeg, FALSE);
  while (found == JPEG_HEADER_TABLES_ONLY);
  if (found == JPEG_SUSPENDED) return ENDED;
  int has_ink = jpeg->num_components == 4;
  jpeg->out_color_space = has_ink ? JCS_CMYK : JCS_RGB;
  jpeg->scale_num = 1;
  jpeg->scale_denom = request->denominator;
  jpeg->dct_method = JDCT_ISLOW;
  if (!jpeg_start_decompress(jpeg)) return ENDED;
  if (jpeg->output_width != request->width || jpeg->output_height != request->height) {
    snprintf(request->error, JMSG_LENGTH_MAX, "Two frames of different sizes");
    return FAILED;
  }
  sassl_decode_huffman(jpeg);
  use_kernels(r);
  JSAMPARRAY ink = (*jpeg->mem->alloc_sarray)((j_common_ptr)jpeg, JPOOL_IMAGE, 4 * request->width, 1);
  for (uint32_t y = 0; y < request->height; y++) {
    JSAMPROW row = request->pixels + (size_t)y * request->width * 3;
    if (!jpeg_read_scanlines(jpeg, has_ink ? ink : &row, 1)) return ENDED;
    if (has_ink && wants(request, y, (size_t)y + 1)) request->kernels->cmyk_to_rgb(ink[0], row, request->left, request->right);
  }
  if (!jpeg_finish_decompress(jpeg)) {
    /* The end may be missing once all rows are complete. A second frame is refused at its marker, as in libjpeg-turbo 3. */
    int mark = jpeg->unread_marker;
    if ((mark >= 0xC0 && mark <= 0xC2) || mark == 0xC9 || mark == 0xCA) {
      snprintf(request->error, JMSG_LENGTH_MAX, "Two frames");
      return FAILED;
    }
  }
  return DONE;
}

int sassl_read_jpeg(const request *request) {
  reading r;
  memset(&r, 0, sizeof r);
  r.request = request;
  r.jpeg.client_data = &r;
  r.jpeg.err = jpeg_std_error(&r.errors);
  r.errors.error_exit = fail;
  r.errors.emit_message = warn;
  r.errors.output_message = say_nothing;
  r.progress.progress_monitor = bound_scans;
  r.source.next_input_byte = request->bytes;
  r.source.bytes_in_buffer = request->length;
  r.source.init_source = start_source;
  r.source.fill_input_buffer = no_more_bytes;
  r.source.skip_input_data = skip_bytes;
  r.source.resync_to_restart = jpeg_resync_to_restart;
  r.source.term_source = start_source;
  enum outcome outcome;
  switch (setjmp(r.failed)) {
  case 0: outcome = read_all(&r); break;
  case NO_MEMORY: outcome = NO_MEMORY; break;
  default: outcome = FAILED;
  }
  jpeg_destroy_decompress(&r.jpeg);
  return outcome;
}
