/*
 * A program for Linux guests that computes in memory, on the first disk, in x87 and in SSE registers, round by round, and
 * prints a checksum of each: what a saved and restored domain must go on with. Results depend on the rounds alone.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <xmmintrin.h>

#define WORDS (1 << 18)
#define SECTOR_WORDS 256
#define DISK 0x1f0

static unsigned memory[WORDS];

static unsigned next(unsigned *seed) {
  *seed ^= *seed << 13;
  *seed ^= *seed >> 17;
  *seed ^= *seed << 5;
  return *seed;
}

static unsigned mix(unsigned sum, unsigned value) {
  return ((sum << 7) | (sum >> 25)) * 0x9e3779b1u + value;
}

static unsigned in_memory(unsigned *seed) {
  unsigned sum = 0;
  for (int i = 0; i < WORDS; i++) {
    unsigned at = next(seed) % WORDS;
    memory[at] += memory[i] ^ *seed;
    sum = mix(sum, memory[at]);
  }
  return sum;
}

/* Seven values live on the x87 stack all the time, under a rounding mode of their own. */
static unsigned in_x87(unsigned round) {
  unsigned short control = 0x0f7f, before;
  long double out[7];
  float start = (float)(round % 97 + 1);
  asm volatile("fnstcw %0" : "=m"(before));
  asm volatile("fldcw %0" : : "m"(control));
  asm volatile(
      "fld1; fldpi; fldl2e; fldln2; fldl2t; fldlg2; flds %[start]\n\t"
      "movl $20000, %%ecx\n"
      "1: fadd %%st(1), %%st; fsqrt; fmul %%st(2), %%st; fxch %%st(3); fsin; fld1; faddp; fxch %%st(5); fabs; fsqrt\n\t"
      "loop 1b\n\t"
      "fstpt 0(%[out]); fstpt 12(%[out]); fstpt 24(%[out]); fstpt 36(%[out]); fstpt 48(%[out]); fstpt 60(%[out]); fstpt 72(%[out])"
      : : [start] "m"(start), [out] "r"(out)
      : "ecx", "memory", "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)");
  asm volatile("fldcw %0" : : "m"(before));
  unsigned sum = 0;
  for (int i = 0; i < 7; i++) {
    unsigned words[3] = {0, 0, 0};
    memcpy(words, &out[i], 10);
    for (int j = 0; j < 3; j++) sum = mix(sum, words[j]);
  }
  return sum;
}

static unsigned in_sse(unsigned round) {
  unsigned before = _mm_getcsr();
  _mm_setcsr((before & ~0x6000u) | 0x4000u);
  __m128 a = _mm_set_ps(1.5f, 2.25f, (float)(round % 89 + 1), 0.75f), b = _mm_set1_ps(1.000123f), c = a, d = b;
  for (int i = 0; i < 20000; i++) {
    a = _mm_mul_ps(a, b);
    c = _mm_add_ps(_mm_sqrt_ps(a), _mm_shuffle_ps(c, c, 0x39));
    d = _mm_div_ps(c, _mm_add_ps(d, b));
    a = _mm_min_ps(a, _mm_set1_ps(1e6f));
    c = _mm_min_ps(c, _mm_set1_ps(1e6f));
  }
  unsigned words[8], sum = 0;
  _mm_storeu_ps((float *)words, c);
  _mm_storeu_ps((float *)(words + 4), d);
  _mm_setcsr(before);
  for (int i = 0; i < 8; i++) sum = mix(sum, words[i]);
  return sum;
}

static void command(unsigned sector, int code) {
  while (inb(DISK + 7) & 0x80) {}
  outb(0xe0 | ((sector >> 24) & 15), DISK + 6);
  outb(1, DISK + 2);
  outb(sector, DISK + 3);
  outb(sector >> 8, DISK + 4);
  outb(sector >> 16, DISK + 5);
  outb(code, DISK + 7);
  while ((inb(DISK + 7) & 0x88) != 8) {}
}

/* Sectors written and read back by hand: no driver is needed, and none caches. */
static unsigned on_disk(unsigned *seed) {
  unsigned short out[SECTOR_WORDS], in[SECTOR_WORDS];
  unsigned sum = 0;
  for (int i = 0; i < 24; i++) {
    unsigned at = next(seed) % 2048;
    for (int j = 0; j < SECTOR_WORDS; j++) out[j] = next(seed);
    command(at, 0x30);
    outsw(DISK, out, SECTOR_WORDS);
    command((at * 7) % 2048, 0x20);
    insw(DISK, in, SECTOR_WORDS);
    for (int j = 0; j < SECTOR_WORDS; j++) sum = mix(sum, in[j]);
    command(at, 0x20);
    insw(DISK, in, SECTOR_WORDS);
    if (memcmp(in, out, sizeof in)) printf("BAD sector %u\n", at);
  }
  return sum;
}

int main(int count, char **words) {
  int rounds = count > 1 ? atoi(words[1]) : 20;
  unsigned seed = 0x12345678;
  if (iopl(3)) return 1;
  outb(2, 0x3f6);
  setvbuf(stdout, NULL, _IOLBF, 0);
  printf("BUSY\n");
  for (int round = 0; round < rounds; round++) {
    unsigned m = in_memory(&seed), f = in_x87(round), s = in_sse(round), d = on_disk(&seed);
    printf("round %d: %08x %08x %08x %08x\n", round, m, f, s, d);
  }
  printf("DONE\n");
  return 0;
}
