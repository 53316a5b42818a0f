// Source: RFC 3720, appendix B.4 (polynomial 0x1EDC6F41, reflected: 0x82F63B78).
#include "base/crc32c.h"

#include <array>
#include <cstring>

namespace hypenet {
namespace {

constexpr auto kTable = [] {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1) != 0 ? 0x82F63B78U : 0U);
    table[i] = value;
  }
  return table;
}();

uint32_t by_table(const std::byte* data, size_t size, uint32_t crc) {
  for (size_t i = 0; i < size; ++i) {
    crc = kTable[(crc ^ static_cast<uint32_t>(data[i])) & 0xFF] ^ (crc >> 8);
  }
  return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) uint32_t by_processor(const std::byte* data, size_t size,
                                                        uint32_t crc) {
  uint64_t wide = crc;
  for (; size >= sizeof(uint64_t); data += sizeof(uint64_t), size -= sizeof(uint64_t)) {
    uint64_t word = 0;
    std::memcpy(&word, data, sizeof(word));
    wide = __builtin_ia32_crc32di(wide, word);
  }
  return by_table(data, size, static_cast<uint32_t>(wide));
}

bool has_instruction() { return __builtin_cpu_supports("sse4.2") != 0; }
#else
uint32_t by_processor(const std::byte* data, size_t size, uint32_t crc) {
  return by_table(data, size, crc);
}

bool has_instruction() { return false; }
#endif

}  // namespace

uint32_t crc32c(std::span<const std::byte> bytes, uint32_t before) {
  static const bool is_fast = has_instruction();
  const auto compute = is_fast ? by_processor : by_table;
  return ~compute(bytes.data(), bytes.size(), ~before);
}

}  // namespace hypenet
