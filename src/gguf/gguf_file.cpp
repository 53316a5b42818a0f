// A cursor walks through the header; what it hands out lies in the file.
#include "gguf/gguf_file.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/file_kind.h"
#include "base/utf8.h"

namespace hypenet {
namespace {

using Bytes = std::span<const std::byte>;

constexpr std::string_view kMagic = "GGUF";
constexpr uint64_t kLeastKeyBytes = 8 + 4 + 1, kLeastTensorBytes = 8 + 4 + 4 + 8;
constexpr uint32_t kMostSizes = 4;
constexpr int64_t kDefaultAlignment = 32;

/// Walks through the file and never beyond its end.
class Cursor {
 public:
  Cursor(Bytes bytes, const std::string& file) : bytes_(bytes), file_(file) {}

  size_t at() const { return at_; }

  /// `what` begins the error, which tells where the file ends.
  Bytes take(uint64_t size, std::string_view what) {
    HYPENET_CHECK(size <= bytes_.size() - at_, file_, ": ", what, ": expected ", size,
                  " bytes from byte ", at_, " on, found a file of ", bytes_.size(),
                  " (truncated?)");
    const Bytes taken = bytes_.subspan(at_, size);
    at_ += size;
    return taken;
  }

  template <class Number>
  Number number(std::string_view what) {
    Number number;
    std::memcpy(&number, take(sizeof number, what).data(), sizeof number);
    return number;
  }

  std::string_view text(std::string_view what) {
    const Bytes text = take(number<uint64_t>(what), what);
    return {reinterpret_cast<const char*>(text.data()), text.size()};
  }

  /// How many things follow, of which each takes `least` bytes or more.
  uint64_t count(std::string_view what, uint64_t least) {
    const auto count = number<uint64_t>(what);
    const uint64_t rest = bytes_.size() - at_;
    HYPENET_CHECK(count <= rest / least, file_, ": ", what, ": expected at most ", rest / least,
                  " in the ", rest, " bytes that follow, found ", count);
    return count;
  }

 private:
  Bytes bytes_;
  const std::string& file_;
  size_t at_ = 0;
};

GgufKind read_kind(Cursor& cursor, const std::string& place) {
  constexpr auto kLast = static_cast<uint32_t>(GgufKind::kFloat64);
  const auto kind = cursor.number<uint32_t>("the kind of a value");
  HYPENET_CHECK(kind <= kLast, place, ": expected a kind of value from 0 to ", kLast, ", found ",
                kind);
  return static_cast<GgufKind>(kind);
}

GgufValue read_value(Cursor& cursor, const std::string& key, const std::string& place, Bytes all) {
  GgufValue value{.kind = read_kind(cursor, place)};
  if (value.kind == GgufKind::kArray) {
    value.is_array = true;
    value.kind = read_kind(cursor, place);
    HYPENET_CHECK(value.kind != GgufKind::kArray, place,
                  ": expected items that are no arrays, found arrays");
    value.count = cursor.count(key, std::max<size_t>(size_of(value.kind), 1));
  }
  if (value.kind != GgufKind::kString) {
    value.bytes = cursor.take(value.count * size_of(value.kind), key);
    return value;
  }
  const size_t begin = cursor.at();
  for (uint64_t i = 0; i < value.count; ++i) cursor.text(key);
  value.bytes = all.subspan(begin, cursor.at() - begin);
  return value;
}

/// A tensor of the table, and where it lies behind the table's end.
struct Entry {
  GgufTensor tensor;
  uint64_t begin = 0, bytes = 0;
};

/// Where a tensor of the table stands, without and with the file's name.
struct Place {
  std::string name, in_file;
};

/// Rows first, and the bytes that they take.
void read_shape(Cursor& cursor, const Place& at, Entry& entry) {
  const std::string& place = at.in_file;
  const auto sizes = cursor.number<uint32_t>(at.name);
  HYPENET_CHECK(sizes <= kMostSizes, place, ": expected at most ", kMostSizes, " sizes, found ",
                sizes);
  for (uint32_t i = 0; i < sizes; ++i) {
    const auto size = cursor.number<int64_t>(at.name);
    HYPENET_CHECK(size > 0, place, ": expected sizes of at least 1, found ",
                  static_cast<uint64_t>(size));
    entry.tensor.shape.insert(entry.tensor.shape.begin(), size);
  }
}

void read_type(Cursor& cursor, const Place& at, Entry& entry) {
  const std::string& place = at.in_file;
  const auto type = cursor.number<uint32_t>(at.name);
  const BlockLayout* const layout = find_block_layout(type);
  HYPENET_CHECK(layout != nullptr, place, ": expected a type of ", known_block_types(), ", found ",
                name_of_block_type(type));
  entry.tensor.type = layout->type;
  const std::vector<int64_t>& shape = entry.tensor.shape;
  const int64_t row = shape.empty() ? 1 : shape.back();
  HYPENET_CHECK(row % layout->values == 0, place, ": expected rows of whole blocks of ",
                layout->values, " values (", layout->name, "), found rows of ", row);
  int64_t bytes = layout->bytes;
  bool is_too_large = __builtin_mul_overflow(bytes, row / layout->values, &bytes);
  for (size_t i = 0; i + 1 < shape.size(); ++i) {
    is_too_large |= __builtin_mul_overflow(bytes, shape[i], &bytes);
  }
  HYPENET_CHECK(!is_too_large, place, ": expected a size that the file can hold, found more than ",
                "2^63 bytes");
  entry.bytes = static_cast<uint64_t>(bytes);
}

/// Names stand in errors: lines of text, of a length that one reads.
void check_name(std::string_view name, const std::string& place) {
  constexpr size_t kMost = 255;
  HYPENET_CHECK(name.size() <= kMost, place, ": expected at most ", kMost, " bytes, found ",
                name.size());
  HYPENET_CHECK(is_utf8(name), place, ": expected UTF-8, found other bytes");
}

std::vector<Entry> read_table(Cursor& cursor, uint64_t count, const std::string& file) {
  std::vector<Entry> entries;
  std::set<std::string_view> names;
  for (uint64_t i = 0; i < count; ++i) {
    Entry& entry = entries.emplace_back();
    const std::string_view name = cursor.text("the name of a tensor");
    check_name(name, concat(file, ": the name of tensor ", i));
    const Place place{concat("tensor ", name), concat(file, ": tensor ", name)};
    HYPENET_CHECK(names.insert(name).second, place.in_file,
                  ": expected a name of its own, found it twice");
    entry.tensor.name = name;
    read_shape(cursor, place, entry);
    read_type(cursor, place, entry);
    entry.begin = cursor.number<uint64_t>(place.name);
  }
  return entries;
}

uint64_t read_alignment(const GgufKeys& keys) {
  constexpr const char* kKey = "general.alignment";
  const int64_t alignment = keys.integer(kKey, kDefaultAlignment);
  HYPENET_CHECK(alignment > 0 && alignment <= (int64_t{1} << 32) &&
                    std::has_single_bit(static_cast<uint64_t>(alignment)),
                keys.place(kKey), ": expected a power of two of at most 2^32, found ", alignment);
  return static_cast<uint64_t>(alignment);
}

/// Holes are alignment; one tensor in another is a damaged table.
void check_no_overlap(std::vector<Entry>& entries, const std::string& file) {
  std::ranges::sort(entries, {}, &Entry::begin);
  for (size_t i = 1; i < entries.size(); ++i) {
    const Entry& before = entries[i - 1];
    HYPENET_CHECK(before.begin + before.bytes <= entries[i].begin, file, ": tensor ",
                  entries[i].tensor.name, ": expected to begin at byte ",
                  before.begin + before.bytes, " of the data or later, found ", entries[i].begin,
                  " (inside ", before.tensor.name, ")");
  }
}

}  // namespace

GgufFile::GgufFile(const std::filesystem::path& path) : path_(path) {
  read_as("a GGUF file", "a GGUF file", path, [this] { open(); });
}

void GgufFile::open() {
  const std::string file = path_.string();
  mapping_ = std::make_shared<const MappedFile>(path_);
  const Bytes all = mapping_->bytes();
  Cursor cursor(all, file);
  const Bytes magic = cursor.take(kMagic.size(), "the word GGUF");
  HYPENET_CHECK(std::memcmp(magic.data(), kMagic.data(), kMagic.size()) == 0, file,
                ": expected to begin with the word GGUF, found other bytes");
  const auto version = cursor.number<uint32_t>("version");
  HYPENET_CHECK(version == 2 || version == 3, file, ": version: expected 2 or 3, found ", version,
                version >> 24 == 0 ? "" : " (a file for big-endian machines?)");
  const uint64_t tensors = cursor.count("the number of tensors", kLeastTensorBytes);
  const uint64_t keys = cursor.count("the number of keys", kLeastKeyBytes);
  keys_ = GgufKeys(file);
  for (uint64_t i = 0; i < keys; ++i) {
    const std::string key(cursor.text("a key"));
    check_name(key, concat(file, ": the name of key ", i));
    keys_.add(key, read_value(cursor, key, keys_.place(key), all));
  }
  std::vector<Entry> entries = read_table(cursor, tensors, file);
  const uint64_t alignment = read_alignment(keys_);
  const uint64_t data =
      std::min<uint64_t>((cursor.at() + alignment - 1) / alignment * alignment, all.size());
  const uint64_t room = all.size() - data;
  for (Entry& entry : entries) {
    GgufTensor& tensor = entry.tensor;
    HYPENET_CHECK(entry.begin % alignment == 0, file, ": tensor ", tensor.name,
                  ": expected to begin at a multiple of ", alignment, ", found ", entry.begin);
    HYPENET_CHECK(entry.bytes <= room && entry.begin <= room - entry.bytes, file, ": tensor ",
                  tensor.name, ": expected ", entry.bytes, " bytes from byte ", entry.begin,
                  " of the data on, found ", room, " bytes of data (truncated?)");
    tensor.blocks = all.subspan(data + entry.begin, entry.bytes);
  }
  check_no_overlap(entries, file);
  for (Entry& entry : entries) tensors_.push_back(std::move(entry.tensor));
}

}  // namespace hypenet
