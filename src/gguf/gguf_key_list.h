// The keys of a GGUF file that is being written.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "gguf/gguf_keys.h"

namespace hypenet {

/// Keys in the order in which they are added, as they will lie in the file.
class GgufKeyList {
 public:
  /// A uint32. Throws Error for what it cannot hold.
  void add_size(std::string_view key, int64_t value);
  /// A float32 where GgufKeys::number would read the same number of it, else a float64.
  void add_number(std::string_view key, double value);
  void add_flag(std::string_view key, bool value);
  void add_text(std::string_view key, std::string_view value);
  void add_texts(std::string_view key, const std::vector<std::string>& values);
  void add_integers(std::string_view key, const std::vector<int32_t>& values);
  void add_flags(std::string_view key, const std::vector<bool>& values);

  int64_t count() const { return count_; }
  const std::string& bytes() const { return bytes_; }

 private:
  void begin(std::string_view key, GgufKind kind);
  void begin_array(std::string_view key, GgufKind kind, size_t count);
  template <class Number>
  void put(Number number);
  void put_text(std::string_view text);

  std::string bytes_;
  int64_t count_ = 0;
};

}  // namespace hypenet
