// FNV-1a of 64 bits: tells things of one user apart, and is no seal.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace hypenet {

/// Of all that was added, in its order.
class Fnv1a {
 public:
  void add(std::string_view bytes) {
    for (const char byte : bytes) add(static_cast<unsigned char>(byte));
  }
  /// One step of the hash: a byte, or a number that stands for one.
  void add(uint64_t value) { hash_ = (hash_ ^ value) * 0x100000001B3ULL; }

  uint64_t value() const { return hash_; }

  /// 16 digits.
  std::string hex() const {
    constexpr std::string_view kDigits = "0123456789abcdef";
    std::string text;
    for (int shift = 60; shift >= 0; shift -= 4) text += kDigits[(hash_ >> shift) & 15];
    return text;
  }

 private:
  uint64_t hash_ = 0xCBF29CE484222325ULL;
};

}  // namespace hypenet
