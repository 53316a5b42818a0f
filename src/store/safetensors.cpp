// safetensors: everything in the header is checked once, when the file is opened.
#include "store/safetensors.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <numeric>
#include <set>
#include <string_view>
#include <system_error>

#include "base/alternatives.h"
#include "base/file_kind.h"
#include "base/json.h"
#include "store/tensor_parts.h"

namespace hypenet {
namespace {

using Entry = SafetensorsFile::Entry;

constexpr const char* kMetadata = "__metadata__";
constexpr size_t kLengthBytes = sizeof(uint64_t);
constexpr size_t kAlignment = 8;

struct NamedType {
  std::string_view name;
  torch::ScalarType type;
};

constexpr std::array<NamedType, 10> kTypes = {{{"F32", torch::kFloat32},
                                               {"F16", torch::kFloat16},
                                               {"BF16", torch::kBFloat16},
                                               {"F64", torch::kFloat64},
                                               {"F8_E4M3", torch::kFloat8_e4m3fn},
                                               {"I64", torch::kInt64},
                                               {"I32", torch::kInt32},
                                               {"I8", torch::kInt8},
                                               {"U8", torch::kUInt8},
                                               {"BOOL", torch::kBool}}};

torch::ScalarType parse_type(const Json& json, const std::string& place) {
  HYPENET_CHECK(json.is_string(), place, ": dtype: expected a string, found ", json_kind(json));
  const auto& name = json.get_ref<const std::string&>();
  for (const NamedType& known : kTypes) {
    if (known.name == name) return known.type;
  }
  std::vector<std::string> names;
  names.reserve(std::size(kTypes));
  for (const NamedType& known : kTypes) names.emplace_back(known.name);
  throw Error(concat(place, ": dtype: expected ", alternatives(names), ", found ", name));
}

std::string_view type_name(torch::ScalarType type, const std::string& place) {
  for (const NamedType& known : kTypes) {
    if (known.type == type) return known.name;
  }
  throw Error(concat(place, ": type ", torch::toString(type), " has no name in safetensors"));
}

/// The array of non-negative integers that key holds.
std::vector<int64_t> parse_sizes(const Json& tensor, const char* key, const std::string& place) {
  const Json& json = tensor.at(key);
  HYPENET_CHECK(json.is_array(), place, ": ", key, ": expected an array, found ", json_kind(json));
  std::vector<int64_t> sizes;
  for (const Json& size : json) {
    HYPENET_CHECK(size.is_number_integer() && size.get<int64_t>() >= 0, place, ": ", key,
                  ": expected integers of at least 0, found ", size.dump());
    sizes.push_back(size.get<int64_t>());
  }
  return sizes;
}

/// Bytes of a tensor; a shape whose product overflows can only come from a broken file.
int64_t count_bytes(const std::vector<int64_t>& shape, torch::ScalarType type,
                    const std::string& place) {
  int64_t bytes = static_cast<int64_t>(torch::elementSize(type));
  for (const int64_t size : shape) {
    HYPENET_CHECK(!__builtin_mul_overflow(bytes, size, &bytes), place, ": shape ",
                  torch::IntArrayRef(shape), " is too large");
  }
  return bytes;
}

Entry parse_entry(const Json& json, const std::string& place, size_t data_bytes) {
  HYPENET_CHECK(json.is_object(), place, ": expected an object, found ", json_kind(json));
  for (const char* key : {"dtype", "shape", "data_offsets"}) {
    HYPENET_CHECK(json.contains(key), place, ": expected key ", key, ", found none");
  }
  const torch::ScalarType type = parse_type(json.at("dtype"), place);
  const std::vector<int64_t> shape = parse_sizes(json, "shape", place);
  const std::vector<int64_t> offsets = parse_sizes(json, "data_offsets", place);
  HYPENET_CHECK(offsets.size() == 2 && offsets[0] <= offsets[1], place,
                ": data_offsets: expected [begin, end], found ", json.at("data_offsets").dump());
  const int64_t expected = count_bytes(shape, type, place);
  HYPENET_CHECK(offsets[1] - offsets[0] == expected, place, ": expected ", expected, " bytes for ",
                json.at("dtype").dump(), " ", json.at("shape").dump(), ", found data_offsets ",
                json.at("data_offsets").dump());
  HYPENET_CHECK(static_cast<size_t>(offsets[1]) <= data_bytes, place, ": expected ", offsets[1],
                " bytes of data in the file, found ", data_bytes, " (truncated?)");
  return {type, shape, static_cast<size_t>(offsets[0]), static_cast<size_t>(offsets[1])};
}

std::map<std::string, std::string> parse_metadata(const Json& json, const std::string& place) {
  HYPENET_CHECK(json.is_object(), place, ": expected an object, found ", json_kind(json));
  std::map<std::string, std::string> metadata;
  for (const auto& [key, value] : json.items()) {
    HYPENET_CHECK(value.is_string(), place, ": ", key, ": expected a string, found ",
                  json_kind(value));
    metadata[key] = value.get<std::string>();
  }
  return metadata;
}

/// The format allows neither overlaps nor holes, nor bytes after the last tensor.
void check_coverage(const std::map<std::string, Entry>& entries, size_t data_bytes,
                    const std::string& path) {
  std::vector<std::pair<const std::string*, const Entry*>> order;
  order.reserve(entries.size());
  for (const auto& [name, entry] : entries) order.emplace_back(&name, &entry);
  std::ranges::sort(order, [](const auto& a, const auto& b) {
    return std::pair(a.second->begin, a.second->end) < std::pair(b.second->begin, b.second->end);
  });
  size_t end = 0;
  for (const auto& [name, entry] : order) {
    HYPENET_CHECK(entry->begin == end, path, ": tensor ", *name, ": expected to begin at byte ",
                  end, ", found ", entry->begin,
                  entry->begin < end ? " (tensors overlap)" : " (a hole between tensors)");
    end = entry->end;
  }
  HYPENET_CHECK(end == data_bytes, path, ": expected ", end, " bytes of data, found ", data_bytes);
}

/// The text between length and data.
std::string_view header_text(std::span<const std::byte> bytes, const std::string& path) {
  HYPENET_CHECK(bytes.size() >= kLengthBytes, path,
                ": expected a header length of 8 bytes, found a file of ", bytes.size());
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), kLengthBytes);
  HYPENET_CHECK(length <= bytes.size() - kLengthBytes, path, ": expected a header of ", length,
                " bytes, found a file of ", bytes.size());
  return {reinterpret_cast<const char*>(bytes.data()) + kLengthBytes, length};
}

/// Widest elements first, so that each tensor's offset is a multiple of its element's size.
NamedTensors widest_first(const NamedTensors& tensors) {
  NamedTensors sorted = tensors;
  std::ranges::stable_sort(sorted, [](const auto& a, const auto& b) {
    return a.second.element_size() > b.second.element_size();
  });
  return sorted;
}

/// All that stands before the tensors: the header's length, then the header.
std::string build_header(const NamedTensors& tensors,
                         const std::map<std::string, std::string>& metadata,
                         const std::string& path) {
  std::map<std::string, Json> entries;
  Json header = Json::object();
  if (!metadata.empty()) header[kMetadata] = metadata;
  size_t offset = 0;
  std::set<std::string> names = {kMetadata};
  for (const auto& [name, tensor] : tensors) {
    HYPENET_CHECK(names.insert(name).second, path, ": tensor ", name,
                  ": expected a name of its own, found it twice");
    const size_t end = offset + tensor.nbytes();
    header[name] = {{"dtype", type_name(tensor.scalar_type(), concat(path, ": tensor ", name))},
                    {"shape", tensor.sizes().vec()},
                    {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  text.append((kAlignment - text.size() % kAlignment) % kAlignment, ' ');
  const uint64_t length = text.size();
  return std::string(reinterpret_cast<const char*>(&length), kLengthBytes) + text;
}

}  // namespace

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : path_(path) {
  read_as("a safetensors file", "a safetensors file", path, [this] { open(); });
}

void SafetensorsFile::open() {
  const std::filesystem::path& path = path_;
  file_ = std::make_shared<MappedFile>(path);
  const std::string_view text = header_text(file_->bytes(), path.string());
  const Json header = parse_json(text, concat(path.string(), ": header"));
  HYPENET_CHECK(header.is_object(), path.string(), ": header: expected an object, found ",
                json_kind(header));
  data_begin_ = kLengthBytes + text.size();
  const size_t data_bytes = file_->bytes().size() - data_begin_;
  for (const auto& [name, json] : header.items()) {
    if (name == kMetadata) {
      metadata_ = parse_metadata(json, concat(path.string(), ": ", kMetadata));
    } else {
      entries_[name] = parse_entry(json, concat(path.string(), ": tensor ", name), data_bytes);
    }
  }
  check_coverage(entries_, data_bytes, path.string());
}

std::vector<std::string> SafetensorsFile::names() const {
  std::vector<std::string> names;
  for (const auto& [name, unused] : entries_) names.push_back(name);
  return names;
}

const Entry& SafetensorsFile::entry(const std::string& name) const {
  const auto found = entries_.find(name);
  HYPENET_CHECK(found != entries_.end(), path_.string(), ": tensor ", name,
                ": expected it in the file, found none");
  return found->second;
}

Tensor SafetensorsFile::tensor(const std::string& name) const {
  const Entry& entry = this->entry(name);
  if (entry.begin == entry.end) return torch::empty(entry.shape, entry.type);
  auto* data = const_cast<std::byte*>(file_->bytes().data()) + data_begin_ + entry.begin;
  if (reinterpret_cast<uintptr_t>(data) % torch::elementSize(entry.type) != 0) {
    // Other writers need not align; an unaligned tensor has to be copied out.
    Tensor copy = torch::empty(entry.shape, entry.type);
    std::memcpy(copy.data_ptr(), data, entry.end - entry.begin);
    return copy;
  }
  return torch::from_blob(
      data, entry.shape, [mapping = file_](void*) {}, entry.type);
}

void write_safetensors(const std::filesystem::path& path, const NamedTensors& tensors,
                       const std::map<std::string, std::string>& metadata) {
  const NamedTensors sorted = widest_first(tensors);
  FileWriter writer(path);
  writer.write(build_header(sorted, metadata, path.string()));
  for (const auto& [unused, tensor] : sorted) {
    const Tensor contiguous = tensor.detach().to(torch::kCPU).contiguous();
    writer.write(contiguous.data_ptr(), contiguous.nbytes());
  }
  writer.commit();
}

namespace {

/// Where each tensor begins, by name, in bytes from the start of the file.
std::map<std::string, size_t> places_of(const NamedTensors& tensors, size_t data_begin) {
  std::map<std::string, size_t> places;
  for (const auto& [name, tensor] : tensors) {
    places[name] = data_begin;
    data_begin += tensor.nbytes();
  }
  return places;
}

/// A file that another process, or this one, has made.
class OpenFile {
 public:
  explicit OpenFile(const std::filesystem::path& path)
      : path_(path), descriptor_(::open(path.c_str(), O_WRONLY | O_CLOEXEC)) {
    if (descriptor_ < 0) fail("open");
  }
  ~OpenFile() { ::close(descriptor_); }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;

  void write(const void* data, size_t bytes, size_t place) const {
    const auto* rest = static_cast<const char*>(data);
    while (bytes > 0) {
      const ssize_t count = ::pwrite(descriptor_, rest, bytes, static_cast<off_t>(place));
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) fail("write");
      rest += count, bytes -= static_cast<size_t>(count), place += static_cast<size_t>(count);
    }
  }
  void flush() const {
    if (::fsync(descriptor_) != 0) fail("write");
  }

 private:
  [[noreturn]] void fail(const char* what) const {
    throw Error(
        concat(path_.string(), ": cannot ", what, ": ", std::generic_category().message(errno)));
  }

  std::filesystem::path path_;
  int descriptor_;
};

}  // namespace

PartsFile::PartsFile(std::filesystem::path path, const std::vector<TensorPart>& parts,
                     const std::map<std::string, std::string>& metadata, bool makes)
    : path_(std::move(path)) {
  NamedTensors wholes;
  for (const TensorPart& part : parts) {
    wholes.emplace_back(part.name,
                        torch::empty(part.shape, part.values.options().device(torch::kMeta)));
  }
  wholes = widest_first(wholes);
  const std::string header = build_header(wholes, metadata, path_.string());
  places_ = places_of(wholes, header.size());
  if (!makes) return;
  writer_ = std::make_unique<FileWriter>(path_);
  writer_->write(header);
}

PartsFile::~PartsFile() = default;

void PartsFile::write(const std::vector<TensorPart>& parts) const {
  const OpenFile file(path_.string() + std::string(kPartialEnding));
  for (const TensorPart& part : parts) {
    const Tensor values = part.values.detach().to(torch::kCPU).contiguous();
    const size_t before = static_cast<size_t>(part.first) * values.element_size();
    file.write(values.const_data_ptr(), values.nbytes(), places_.at(part.name) + before);
  }
  file.flush();
}

void PartsFile::commit() {
  if (writer_) writer_->commit();
  writer_.reset();
}

}  // namespace hypenet
