// UTF-8 by hand.
#include "base/utf8.h"

#include <cstdint>
#include <cstring>

namespace hypenet {

namespace {

constexpr char32_t kReplacement = 0xFFFD;

size_t sequence_size(unsigned lead) {
  if (lead >= 0xC2 && lead <= 0xDF) return 2;
  if (lead >= 0xE0 && lead <= 0xEF) return 3;
  if (lead >= 0xF0 && lead <= 0xF4) return 4;
  return 0;
}

}  // namespace

Utf8Step read_utf8(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = byte(at);
  if (lead < 0x80) return {lead, 1, Utf8Status::kWhole};
  const size_t size = sequence_size(lead);
  if (size == 0) return {kReplacement, 1, Utf8Status::kInvalid};
  // The second byte's range leaves out overlong forms, surrogates and code points above U+10FFFF.
  unsigned low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  unsigned high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  char32_t code = lead & (0x7Fu >> size);
  for (size_t i = 1; i < size; ++i) {
    if (at + i == text.size()) return {kReplacement, i, Utf8Status::kTruncated};
    const unsigned next = byte(at + i);
    if (next < low || next > high) return {kReplacement, i, Utf8Status::kInvalid};
    code = (code << 6) | (next & 0x3F);
    low = 0x80;
    high = 0xBF;
  }
  return {code, size, Utf8Status::kWhole};
}

size_t ascii_prefix(std::string_view text) {
  size_t i = 0;
  for (uint64_t word = 0; i + sizeof word <= text.size(); i += sizeof word) {
    std::memcpy(&word, text.data() + i, sizeof word);
    if (word & 0x8080808080808080ULL) break;
  }
  while (i < text.size() && static_cast<unsigned char>(text[i]) < 0x80) ++i;
  return i;
}

bool is_utf8(std::string_view text) {
  for (size_t at = ascii_prefix(text); at < text.size();) {
    const Utf8Step step = read_utf8(text, at);
    if (step.status != Utf8Status::kWhole) return false;
    at += step.size;
    if (step.size == 1) at += ascii_prefix(text.substr(at));
  }
  return true;
}

}  // namespace hypenet
