// Printable Latin-1 characters stand for themselves; the other 68 bytes take U+0100 onwards in
// order.
#include "text/byte_level.h"

#include <array>

#include "text/unicode.h"

namespace hypenet {

namespace {

constexpr bool is_printable(unsigned byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

constexpr std::array<char32_t, 256> make_alphabet() {
  std::array<char32_t, 256> alphabet{};
  char32_t next = 0x100;
  for (unsigned byte = 0; byte < 256; ++byte) alphabet[byte] = is_printable(byte) ? byte : next++;
  return alphabet;
}

constexpr std::array<char32_t, 256> kAlphabet = make_alphabet();

constexpr std::array<int, 0x144> make_bytes() {
  std::array<int, 0x144> bytes{};
  for (int& byte : bytes) byte = -1;
  for (int byte = 0; byte < 256; ++byte) bytes[kAlphabet[static_cast<size_t>(byte)]] = byte;
  return bytes;
}

constexpr std::array<int, 0x144> kBytes = make_bytes();

}  // namespace

std::optional<std::string> bytes_of_entry(std::string_view entry) {
  std::string bytes;
  for (size_t at = 0; at < entry.size();) {
    const Utf8Step step = read_utf8(entry, at);
    if (step.code >= kBytes.size() || kBytes[step.code] < 0) return std::nullopt;
    bytes.push_back(static_cast<char>(kBytes[step.code]));
    at += step.size;
  }
  return bytes;
}

std::string entry_of_byte(unsigned char byte) {
  const char32_t code = kAlphabet[byte];
  if (code < 0x80) return std::string(1, static_cast<char>(code));
  return {static_cast<char>(0xC0 | (code >> 6)), static_cast<char>(0x80 | (code & 0x3F))};
}

}  // namespace hypenet
