// The keys of a GGUF file. Values stay in the mapping; their bytes were checked when it was opened.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace hypenet {

/// By their numbers in the file.
enum class GgufKind : uint32_t {
  kUint8,
  kInt8,
  kUint16,
  kInt16,
  kUint32,
  kInt32,
  kFloat32,
  kBool,
  kString,
  kArray,
  kUint64,
  kInt64,
  kFloat64
};

struct GgufValue {
  GgufKind kind = GgufKind::kUint8;  // of the value, or of each item of an array
  bool is_array = false;
  uint64_t count = 1;
  std::span<const std::byte> bytes = {};  // strings: each a length of eight bytes, then the text
};

/// Reads values as what they should be. All throw Error "<file>: <key>: expected .., found ..": for
/// a missing key (but where there is a fallback), another kind, a number that does not fit, and
/// text that is no UTF-8.
class GgufKeys {
 public:
  GgufKeys() = default;
  /// `file` begins the errors. The mapping must outlive the keys and the texts that they give.
  explicit GgufKeys(std::string file) : file_(std::move(file)) {}

  /// Throws Error for a key that is there already.
  void add(const std::string& key, const GgufValue& value);

  bool has(std::string_view key) const { return values_.contains(key); }
  std::string place(std::string_view key) const;

  /// Any kind of integer; of an array the entry that all are equal to, as files have one a layer.
  int64_t integer(std::string_view key) const;
  int64_t integer(std::string_view key, int64_t fallback) const;
  /// Float32 and float64, the first as the shortest decimal that rounds to it (1e-06).
  double number(std::string_view key) const;
  double number(std::string_view key, double fallback) const;
  bool flag(std::string_view key, bool fallback) const;
  std::string_view text(std::string_view key) const;
  std::string_view text(std::string_view key, std::string_view fallback) const;
  /// Of an array.
  std::vector<std::string_view> texts(std::string_view key) const;
  std::vector<int64_t> integers(std::string_view key) const;
  std::vector<bool> flags(std::string_view key) const;

 private:
  const GgufValue& find(std::string_view key) const;
  [[noreturn]] void refuse(std::string_view key, std::string_view expected) const;

  std::string file_;
  std::map<std::string, GgufValue, std::less<>> values_;
};

/// The shortest decimal that rounds to the value, as the double nearest to it.
double shortest_decimal(float value);

/// Bytes of a value of this kind; 0 for strings and arrays.
size_t size_of(GgufKind kind);

/// A file's text as errors tell it: of a long one the first 64 bytes.
std::string excerpt(std::string_view text);

/// "a uint32", "an array of strings" ...
std::string describe(const GgufValue& value);

}  // namespace hypenet
