#include "cli/term.h"

#include <math.h>
#include <sys/ioctl.h>

struct range {
  uint32_t from, to;
};

/* Marks that are set above or below the character before them: Mn and Me of Unicode 14, and what only joins or separates. */
static const struct range zero_width[] = {
    {0x0300, 0x036F},   {0x0483, 0x0489},   {0x0591, 0x05BD},   {0x05BF, 0x05BF},   {0x05C1, 0x05C2},   {0x05C4, 0x05C5},
    {0x05C7, 0x05C7},   {0x0610, 0x061A},   {0x064B, 0x065F},   {0x0670, 0x0670},   {0x06D6, 0x06DC},   {0x06DF, 0x06E4},
    {0x06E7, 0x06E8},   {0x06EA, 0x06ED},   {0x0711, 0x0711},   {0x0730, 0x074A},   {0x07A6, 0x07B0},   {0x07EB, 0x07F3},
    {0x07FD, 0x07FD},   {0x0816, 0x0819},   {0x081B, 0x0823},   {0x0825, 0x0827},   {0x0829, 0x082D},   {0x0859, 0x085B},
    {0x0898, 0x089F},   {0x08CA, 0x08E1},   {0x08E3, 0x0902},   {0x093A, 0x093A},   {0x093C, 0x093C},   {0x0941, 0x0948},
    {0x094D, 0x094D},   {0x0951, 0x0957},   {0x0962, 0x0963},   {0x0981, 0x0981},   {0x09BC, 0x09BC},   {0x09C1, 0x09C4},
    {0x09CD, 0x09CD},   {0x09E2, 0x09E3},   {0x09FE, 0x0A02},   {0x0A3C, 0x0A3C},   {0x0A41, 0x0A51},   {0x0A70, 0x0A71},
    {0x0A75, 0x0A75},   {0x0A81, 0x0A82},   {0x0ABC, 0x0ABC},   {0x0AC1, 0x0AC8},   {0x0ACD, 0x0ACD},   {0x0AE2, 0x0AE3},
    {0x0AFA, 0x0B01},   {0x0B3C, 0x0B3C},   {0x0B3F, 0x0B3F},   {0x0B41, 0x0B44},   {0x0B4D, 0x0B56},   {0x0B62, 0x0B63},
    {0x0B82, 0x0B82},   {0x0BC0, 0x0BC0},   {0x0BCD, 0x0BCD},   {0x0C00, 0x0C00},   {0x0C04, 0x0C04},   {0x0C3C, 0x0C3C},
    {0x0C3E, 0x0C40},   {0x0C46, 0x0C56},   {0x0C62, 0x0C63},   {0x0C81, 0x0C81},   {0x0CBC, 0x0CBC},   {0x0CBF, 0x0CBF},
    {0x0CC6, 0x0CC6},   {0x0CCC, 0x0CCD},   {0x0CE2, 0x0CE3},   {0x0D00, 0x0D01},   {0x0D3B, 0x0D3C},   {0x0D41, 0x0D44},
    {0x0D4D, 0x0D4D},   {0x0D62, 0x0D63},   {0x0D81, 0x0D81},   {0x0DCA, 0x0DCA},   {0x0DD2, 0x0DD6},   {0x0E31, 0x0E31},
    {0x0E34, 0x0E3A},   {0x0E47, 0x0E4E},   {0x0EB1, 0x0EB1},   {0x0EB4, 0x0EBC},   {0x0EC8, 0x0ECD},   {0x0F18, 0x0F19},
    {0x0F35, 0x0F35},   {0x0F37, 0x0F37},   {0x0F39, 0x0F39},   {0x0F71, 0x0F7E},   {0x0F80, 0x0F84},   {0x0F86, 0x0F87},
    {0x0F8D, 0x0FBC},   {0x0FC6, 0x0FC6},   {0x102D, 0x1030},   {0x1032, 0x1037},   {0x1039, 0x103A},   {0x103D, 0x103E},
    {0x1058, 0x1059},   {0x105E, 0x1060},   {0x1071, 0x1074},   {0x1082, 0x1082},   {0x1085, 0x1086},   {0x108D, 0x108D},
    {0x109D, 0x109D},   {0x1160, 0x11FF},   {0x135D, 0x135F},   {0x1712, 0x1714},   {0x1732, 0x1733},   {0x1752, 0x1753},
    {0x1772, 0x1773},   {0x17B4, 0x17B5},   {0x17B7, 0x17BD},   {0x17C6, 0x17C6},   {0x17C9, 0x17D3},   {0x17DD, 0x17DD},
    {0x180B, 0x180D},   {0x180F, 0x180F},   {0x1885, 0x1886},   {0x18A9, 0x18A9},   {0x1920, 0x1922},   {0x1927, 0x1928},
    {0x1932, 0x1932},   {0x1939, 0x193B},   {0x1A17, 0x1A18},   {0x1A1B, 0x1A1B},   {0x1A56, 0x1A56},   {0x1A58, 0x1A60},
    {0x1A62, 0x1A62},   {0x1A65, 0x1A6C},   {0x1A73, 0x1A7F},   {0x1AB0, 0x1B03},   {0x1B34, 0x1B34},   {0x1B36, 0x1B3A},
    {0x1B3C, 0x1B3C},   {0x1B42, 0x1B42},   {0x1B6B, 0x1B73},   {0x1B80, 0x1B81},   {0x1BA2, 0x1BA5},   {0x1BA8, 0x1BA9},
    {0x1BAB, 0x1BAD},   {0x1BE6, 0x1BE6},   {0x1BE8, 0x1BE9},   {0x1BED, 0x1BED},   {0x1BEF, 0x1BF1},   {0x1C2C, 0x1C33},
    {0x1C36, 0x1C37},   {0x1CD0, 0x1CD2},   {0x1CD4, 0x1CE0},   {0x1CE2, 0x1CE8},   {0x1CED, 0x1CED},   {0x1CF4, 0x1CF4},
    {0x1CF8, 0x1CF9},   {0x1DC0, 0x1DFF},   {0x200B, 0x200F},   {0x2060, 0x2064},   {0x20D0, 0x20F0},   {0x2CEF, 0x2CF1},
    {0x2D7F, 0x2D7F},   {0x2DE0, 0x2DFF},   {0x302A, 0x302D},   {0x3099, 0x309A},   {0xA66F, 0xA672},   {0xA674, 0xA67D},
    {0xA69E, 0xA69F},   {0xA6F0, 0xA6F1},   {0xA802, 0xA802},   {0xA806, 0xA806},   {0xA80B, 0xA80B},   {0xA825, 0xA826},
    {0xA82C, 0xA82C},   {0xA8C4, 0xA8C5},   {0xA8E0, 0xA8F1},   {0xA8FF, 0xA8FF},   {0xA926, 0xA92D},   {0xA947, 0xA951},
    {0xA980, 0xA982},   {0xA9B3, 0xA9B3},   {0xA9B6, 0xA9B9},   {0xA9BC, 0xA9BD},   {0xA9E5, 0xA9E5},   {0xAA29, 0xAA2E},
    {0xAA31, 0xAA32},   {0xAA35, 0xAA36},   {0xAA43, 0xAA43},   {0xAA4C, 0xAA4C},   {0xAA7C, 0xAA7C},   {0xAAB0, 0xAAB0},
    {0xAAB2, 0xAAB4},   {0xAAB7, 0xAAB8},   {0xAABE, 0xAABF},   {0xAAC1, 0xAAC1},   {0xAAEC, 0xAAED},   {0xAAF6, 0xAAF6},
    {0xABE5, 0xABE5},   {0xABE8, 0xABE8},   {0xABED, 0xABED},   {0xFB1E, 0xFB1E},   {0xFE00, 0xFE0F},   {0xFE20, 0xFE2F},
    {0xFEFF, 0xFEFF},   {0x101FD, 0x101FD}, {0x102E0, 0x102E0}, {0x10376, 0x1037A}, {0x10A01, 0x10A0F}, {0x10A38, 0x10A3F},
    {0x10AE5, 0x10AE6}, {0x10D24, 0x10D27}, {0x10EAB, 0x10EAC}, {0x10F46, 0x10F50}, {0x10F82, 0x10F85}, {0x11001, 0x11001},
    {0x11038, 0x11046}, {0x11070, 0x11070}, {0x11073, 0x11074}, {0x1107F, 0x11081}, {0x110B3, 0x110B6}, {0x110B9, 0x110BA},
    {0x110C2, 0x110C2}, {0x11100, 0x11102}, {0x11127, 0x1112B}, {0x1112D, 0x11134}, {0x11173, 0x11173}, {0x11180, 0x11181},
    {0x111B6, 0x111BE}, {0x111C9, 0x111CC}, {0x111CF, 0x111CF}, {0x1122F, 0x11231}, {0x11234, 0x11234}, {0x11236, 0x11237},
    {0x1123E, 0x1123E}, {0x112DF, 0x112DF}, {0x112E3, 0x112EA}, {0x11300, 0x11301}, {0x1133B, 0x1133C}, {0x11340, 0x11340},
    {0x11366, 0x11374}, {0x11438, 0x1143F}, {0x11442, 0x11444}, {0x11446, 0x11446}, {0x1145E, 0x1145E}, {0x114B3, 0x114B8},
    {0x114BA, 0x114BA}, {0x114BF, 0x114C0}, {0x114C2, 0x114C3}, {0x115B2, 0x115B5}, {0x115BC, 0x115BD}, {0x115BF, 0x115C0},
    {0x115DC, 0x115DD}, {0x11633, 0x1163A}, {0x1163D, 0x1163D}, {0x1163F, 0x11640}, {0x116AB, 0x116AB}, {0x116AD, 0x116AD},
    {0x116B0, 0x116B5}, {0x116B7, 0x116B7}, {0x1171D, 0x1171F}, {0x11722, 0x11725}, {0x11727, 0x1172B}, {0x1182F, 0x11837},
    {0x11839, 0x1183A}, {0x1193B, 0x1193C}, {0x1193E, 0x1193E}, {0x11943, 0x11943}, {0x119D4, 0x119DB}, {0x119E0, 0x119E0},
    {0x11A01, 0x11A0A}, {0x11A33, 0x11A38}, {0x11A3B, 0x11A3E}, {0x11A47, 0x11A47}, {0x11A51, 0x11A56}, {0x11A59, 0x11A5B},
    {0x11A8A, 0x11A96}, {0x11A98, 0x11A99}, {0x11C30, 0x11C3D}, {0x11C3F, 0x11C3F}, {0x11C92, 0x11CA7}, {0x11CAA, 0x11CB0},
    {0x11CB2, 0x11CB3}, {0x11CB5, 0x11CB6}, {0x11D31, 0x11D45}, {0x11D47, 0x11D47}, {0x11D90, 0x11D91}, {0x11D95, 0x11D95},
    {0x11D97, 0x11D97}, {0x11EF3, 0x11EF4}, {0x16AF0, 0x16AF4}, {0x16B30, 0x16B36}, {0x16F4F, 0x16F4F}, {0x16F8F, 0x16F92},
    {0x16FE4, 0x16FE4}, {0x1BC9D, 0x1BC9E}, {0x1CF00, 0x1CF46}, {0x1D167, 0x1D169}, {0x1D17B, 0x1D182}, {0x1D185, 0x1D18B},
    {0x1D1AA, 0x1D1AD}, {0x1D242, 0x1D244}, {0x1DA00, 0x1DA36}, {0x1DA3B, 0x1DA6C}, {0x1DA75, 0x1DA75}, {0x1DA84, 0x1DA84},
    {0x1DA9B, 0x1DAAF}, {0x1E000, 0x1E02A}, {0x1E130, 0x1E136}, {0x1E2AE, 0x1E2AE}, {0x1E2EC, 0x1E2EF}, {0x1E8D0, 0x1E8D6},
    {0x1E944, 0x1E94A}, {0x1F3FB, 0x1F3FF}, {0xE0100, 0xE01EF},
};

/* East Asian Width W and F, and the wide signs that Unicode 16 added. */
static const struct range double_width[] = {
    {0x1100, 0x115F},   {0x231A, 0x231B},   {0x2329, 0x232A},   {0x23E9, 0x23EC},   {0x23F0, 0x23F0},   {0x23F3, 0x23F3},
    {0x25FD, 0x25FE},   {0x2614, 0x2615},   {0x2630, 0x2637},   {0x2648, 0x2653},   {0x267F, 0x267F},   {0x268A, 0x268F},
    {0x2693, 0x2693},   {0x26A1, 0x26A1},   {0x26AA, 0x26AB},   {0x26BD, 0x26BE},   {0x26C4, 0x26C5},   {0x26CE, 0x26CE},
    {0x26D4, 0x26D4},   {0x26EA, 0x26EA},   {0x26F2, 0x26F3},   {0x26F5, 0x26F5},   {0x26FA, 0x26FA},   {0x26FD, 0x26FD},
    {0x2705, 0x2705},   {0x270A, 0x270B},   {0x2728, 0x2728},   {0x274C, 0x274C},   {0x274E, 0x274E},   {0x2753, 0x2755},
    {0x2757, 0x2757},   {0x2795, 0x2797},   {0x27B0, 0x27B0},   {0x27BF, 0x27BF},   {0x2B1B, 0x2B1C},   {0x2B50, 0x2B50},
    {0x2B55, 0x2B55},   {0x2E80, 0x3029},   {0x302E, 0x303E},   {0x3041, 0x3096},   {0x309B, 0x3247},   {0x3250, 0xA4C6},
    {0xA960, 0xA97C},   {0xAC00, 0xD7A3},   {0xF900, 0xFAD9},   {0xFE10, 0xFE19},   {0xFE30, 0xFE6B},   {0xFF01, 0xFF60},
    {0xFFE0, 0xFFE6},   {0x16FE0, 0x16FE3}, {0x16FF0, 0x1B2FB}, {0x1F004, 0x1F004}, {0x1F0CF, 0x1F0CF}, {0x1F18E, 0x1F18E},
    {0x1F191, 0x1F19A}, {0x1F200, 0x1F320}, {0x1F32D, 0x1F335}, {0x1F337, 0x1F37C}, {0x1F37E, 0x1F393}, {0x1F3A0, 0x1F3CA},
    {0x1F3CF, 0x1F3D3}, {0x1F3E0, 0x1F3F0}, {0x1F3F4, 0x1F3F4}, {0x1F3F8, 0x1F43E}, {0x1F440, 0x1F440}, {0x1F442, 0x1F4FC},
    {0x1F4FF, 0x1F53D}, {0x1F54B, 0x1F54E}, {0x1F550, 0x1F567}, {0x1F57A, 0x1F57A}, {0x1F595, 0x1F596}, {0x1F5A4, 0x1F5A4},
    {0x1F5FB, 0x1F64F}, {0x1F680, 0x1F6C5}, {0x1F6CC, 0x1F6CC}, {0x1F6D0, 0x1F6D2}, {0x1F6D5, 0x1F6DF}, {0x1F6EB, 0x1F6EC},
    {0x1F6F4, 0x1F6FC}, {0x1F7E0, 0x1F7F0}, {0x1F90C, 0x1F93A}, {0x1F93C, 0x1F945}, {0x1F947, 0x1F9FF}, {0x1FA70, 0x1FAF6},
    {0x20000, 0x3134A},
};

static bool in_ranges(const struct range *ranges, size_t count, uint32_t c) {
  size_t low = 0, high = count;
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (c > ranges[middle].to)
      low = middle + 1;
    else if (c < ranges[middle].from)
      high = middle;
    else
      return true;
  }
  return false;
}

/* How many bytes the character that begins with this byte has; 0 when none begins so. */
static size_t utf8_length(unsigned char first) {
  return first < 0x80 ? 1 : first < 0xC2 ? 0 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : first < 0xF5 ? 4 : 0;
}

/* The first character and its length in bytes. Broken UTF-8 gives its first byte and false. */
static bool first_char(struct str text, uint32_t *ret_char, size_t *ret_length) {
  static const unsigned char masks[] = {0, 0x7F, 0x1F, 0x0F, 0x07};
  unsigned char first = (unsigned char)text.p[0];
  size_t length = utf8_length(first);
  *ret_char = first;
  *ret_length = 1;
  if (length == 1)
    return true;
  if (!length || length > text.n || !str_is_utf8(str_slice(text, 0, length)))
    return false;
  uint32_t c = first & masks[length];
  for (size_t i = 1; i < length; i++)
    c = c << 6 | ((unsigned char)text.p[i] & 0x3F);
  *ret_char = c;
  *ret_length = length;
  return true;
}

static size_t char_width(uint32_t c) {
  if (c < 0x300)
    return 1;
  if (in_ranges(zero_width, ARRAY_LEN(zero_width), c))
    return 0;
  return in_ranges(double_width, ARRAY_LEN(double_width), c) ? 2 : 1;
}

/* The columns of the first character, and its length. *narrow: did the one before take one column? It takes two where this one, U+FE0F,
 * makes an emoji of it. */
static size_t first_width(struct str text, bool *narrow, size_t *ret_length) {
  uint32_t c;
  size_t width = first_char(text, &c, ret_length) ? char_width(c) : 1;
  if (c == 0xFE0F && *narrow)
    width = 1;
  *narrow = width == 1 && c != 0xFE0F;
  return width;
}

struct str text_fit(struct str text, size_t columns) {
  size_t at = 0, used = 0, length;
  for (bool narrow = false; at < text.n; at += length) {
    used += first_width(str_slice(text, at, text.n), &narrow, &length);
    if (used > columns)
      break;
  }
  return str_slice(text, 0, at);
}

size_t text_width(struct str text) {
  size_t width = 0, length;
  bool narrow = false;
  for (size_t at = 0; at < text.n; at += length)
    width += first_width(str_slice(text, at, text.n), &narrow, &length);
  return width;
}

bool text_is_hostile(struct str text, uint32_t *ret_char, size_t *ret_length) {
  bool good = first_char(text, ret_char, ret_length);
  uint32_t c = *ret_char;
  return !good || c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0x200E || c == 0x200F || c == 0x061C || (c >= 0x2028 && c <= 0x202E) ||
         (c >= 0x2066 && c <= 0x2069) || c == 0xFEFF || c == 0xFFFE || c == 0xFFFF;
}

static void escape_char(struct buf *out, uint32_t c) {
  switch (c) {
  case '\n':
    buf_puts(out, "\\n");
    break;
  case '\t':
    buf_puts(out, "\\t");
    break;
  case '\r':
    buf_puts(out, "\\r");
    break;
  default:
    buf_printf(out, c < 0x100 ? "\\x%02x" : "\\u%04x", (unsigned)c);
  }
}

/* Escapes one character of `text` and returns its length. `pass` may name characters that are left alone. */
static size_t escape_next(struct buf *out, struct str text, const char *pass) {
  uint32_t c;
  size_t length;
  if (text_is_hostile(text, &c, &length) && !(c && c < 0x80 && strchr(pass, (int)c)))
    escape_char(out, c);
  else
    buf_add(out, text.p, length);
  return length;
}

void text_escape(struct buf *out, struct str text) {
  for (size_t at = 0; at < text.n;)
    at += escape_next(out, str_slice(text, at, text.n), "");
}

/* Is `text`, which begins with ESC, a whole SGR sequence (its length), the beginning of one (0), or something else (SIZE_MAX)? One that
 * does not fit into what is held back is something else, also when all of it is there. */
static size_t sgr_length(struct str text) {
  for (size_t i = 1; i < text.n; i++) {
    if (i == HELD_MAX)
      return SIZE_MAX;
    char c = text.p[i];
    if (i == 1 ? c != '[' : c != ';' && c != ':' && (c < '0' || c > '9'))
      return i > 1 && c == 'm' ? i + 1 : SIZE_MAX;
  }
  return 0;
}

static bool is_cut_char(struct str text) {
  size_t length = utf8_length((unsigned char)text.p[0]);
  if (length <= text.n)
    return false;
  for (size_t i = 1; i < text.n; i++)
    if (((unsigned char)text.p[i] & 0xC0) != 0x80)
      return false;
  return true;
}

/* Returns how many bytes were taken; stops before what cannot be judged yet. */
static size_t filter_some(struct log_filter *filter, struct str bytes, struct buf *out) {
  size_t at = 0;
  while (at < bytes.n) {
    struct str rest = str_slice(bytes, at, bytes.n);
    if (rest.p[0] == '\x1b') {
      size_t length = sgr_length(rest);
      if (length == 0 && rest.n < HELD_MAX)
        return at;
      if (length && length != SIZE_MAX) {
        if (filter->colours)
          buf_add(out, rest.p, length);
        at += length;
        continue;
      }
    } else if (is_cut_char(rest)) {
      return at;
    }
    at += escape_next(out, rest, filter->returns ? "\n\t\r" : "\n\t");
  }
  return at;
}

void log_filter_feed(struct log_filter *filter, struct str bytes, struct buf *out) {
  while (filter->held_count && bytes.n) {
    size_t before = filter->held_count;
    size_t more = MIN_OF((size_t)HELD_MAX - before, bytes.n);
    memcpy(filter->held + before, bytes.p, more);
    size_t used = filter_some(filter, str_n(filter->held, before + more), out);
    if (used == 0) { /* all of `bytes` went into the unfinished sequence */
      filter->held_count = before + more;
      return;
    }
    filter->held_count = 0;
    if (used < before) { /* part of what was held is still undecided: keep it in front */
      memmove(filter->held, filter->held + used, before - used);
      filter->held_count = before - used;
    } else {
      bytes = str_slice(bytes, used - before, bytes.n);
    }
  }
  size_t used = filter_some(filter, bytes, out);
  if (used < bytes.n) {
    filter->held_count = bytes.n - used;
    memcpy(filter->held, bytes.p + used, filter->held_count);
  }
}

void log_filter_end(struct log_filter *filter, struct buf *out) {
  text_escape(out, str_n(filter->held, filter->held_count));
  filter->held_count = 0;
}

static const char *const style_codes[] = {
    [STYLE_NONE] = "",         [STYLE_HEAD] = "\x1b[1m", [STYLE_GOOD] = "\x1b[32m", [STYLE_BAD] = "\x1b[31m",
    [STYLE_BUSY] = "\x1b[36m", [STYLE_DIM] = "\x1b[2m",  [STYLE_WARN] = "\x1b[33m", [STYLE_BOLD] = "\x1b[1m",
};

void style_begin(struct buf *out, enum term_style style) {
  buf_puts(out, style_codes[style]);
}

void style_end(struct buf *out, enum term_style style) {
  if (style != STYLE_NONE)
    buf_puts(out, "\x1b[0m");
}

static const struct {
  const char *state;
  enum term_style style;
} state_styles[] = {
    {"RUNNING", STYLE_BUSY},  {"STARTING", STYLE_BUSY}, {"STOPPING", STYLE_BUSY}, {"QUEUED", STYLE_DIM}, {"PAUSED", STYLE_WARN},
    {"DRAINING", STYLE_WARN}, {"FINISHED", STYLE_GOOD}, {"FAILED", STYLE_BAD},    {"LOST", STYLE_BAD},   {"KILLED", STYLE_WARN},
    {"STOPPED", STYLE_WARN},  {"ok", STYLE_GOOD},       {"up", STYLE_GOOD},       {"READY", STYLE_GOOD}, {"down", STYLE_BAD},
};

enum term_style style_of_state(struct str state) {
  for (size_t i = 0; i < ARRAY_LEN(state_styles); i++)
    if (str_is(state, state_styles[i].state))
      return state_styles[i].style;
  return STYLE_NONE;
}

bool color_wanted(enum color_choice choice, bool is_tty, const char *no_color, const char *term) {
  if (choice != COLOR_AUTO)
    return choice == COLOR_ALWAYS;
  return is_tty && !(no_color && no_color[0]) && !(term && strcmp(term, "dumb") == 0);
}

size_t term_columns(int fd) {
  if (!isatty(fd))
    return 0;
  struct winsize size;
  if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col)
    return size.ws_col;
  uint64_t columns;
  return str_to_u64(str_of(getenv("COLUMNS")), &columns) && columns && columns < 10000 ? (size_t)columns : 80;
}

void sparkline(struct buf *out, const double *values, size_t count, size_t columns) {
  static const char *const blocks[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  double low = INFINITY, high = -INFINITY;
  for (size_t i = 0; i < count; i++) {
    if (isfinite(values[i])) {
      low = fmin(low, values[i]);
      high = fmax(high, values[i]);
    }
  }
  size_t shown = MIN_OF(count, columns);
  for (size_t i = 0; i < shown; i++) {
    double value = values[(i + 1) * count / shown - 1];
    double scale = high / 2 - low / 2; /* halves: the difference of two finite values may not be */
    if (isnan(value))
      buf_putc(out, ' ');
    else if (isinf(value))
      buf_puts(out, blocks[value > 0 ? ARRAY_LEN(blocks) - 1 : 0]);
    else
      buf_puts(out, blocks[scale > 0 ? (size_t)((value / 2 - low / 2) / scale * 7.0 + 0.5) : 3]);
  }
}
