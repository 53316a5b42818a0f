// What is read is checked before it is used: every length against the file's, every byte by a sum.
#include "serve/session_file.h"

#include <array>
#include <bit>
#include <cstring>

#include "base/crc32c.h"
#include "base/error.h"

namespace hypenet {
namespace {

static_assert(std::endian::native == std::endian::little, "session files are little-endian");

constexpr std::string_view kMagic = "HYPSESS1";
constexpr uint32_t kVersion = 1;
constexpr size_t kAlign = 4096;
constexpr size_t kBegin = kMagic.size() + sizeof(uint32_t) + sizeof(uint64_t);
constexpr size_t kEnd = kMagic.size() + sizeof(uint64_t);

size_t aligned(size_t offset) { return (offset + kAlign - 1) / kAlign * kAlign; }

template <class Number>
std::string bytes_of(Number number) {
  return {reinterpret_cast<const char*>(&number), sizeof(number)};
}

template <class Number>
Number number_at(std::span<const std::byte> bytes, size_t offset) {
  Number number = 0;
  std::memcpy(&number, bytes.data() + offset, sizeof(number));
  return number;
}

std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

/// The head with the parts' places. They depend on how long the head is, which depends on them:
/// offsets are written relative to the first part.
Json with_parts(Json head, std::span<const SessionPart> parts, size_t& end) {
  Json list = Json::array();
  for (const SessionPart& part : parts) {
    size_t bytes = 0;
    uint32_t sum = 0;
    for (const auto& piece : part.pieces) sum = crc32c(piece, sum), bytes += piece.size();
    list.push_back({{"name", part.name}, {"offset", end}, {"bytes", bytes}, {"crc32c", sum}});
    end = aligned(end + bytes);
  }
  head["parts"] = std::move(list);
  return head;
}

void pad(FileWriter& file, size_t bytes) {
  static constexpr std::array<char, kAlign> kZeros{};
  file.write(kZeros.data(), bytes);
}

/// Where the parts begin.
size_t body_offset(size_t head_bytes) { return aligned(kBegin + head_bytes + sizeof(uint32_t)); }

/// The head of bytes whose magic, version, length and sum are right.
Json checked_head(std::span<const std::byte> bytes, size_t& body) {
  const auto fail = [](const auto&... parts) { throw Error(concat("session: ", parts...)); };
  const size_t size = bytes.size();
  if (size < kBegin + sizeof(uint32_t) + kEnd)
    fail("expected a whole file, found ", size, " bytes");
  const auto is_magic_at = [&](size_t offset) {
    return std::memcmp(bytes.data() + offset, kMagic.data(), kMagic.size()) == 0;
  };
  if (!is_magic_at(0)) fail("expected a file that begins with ", kMagic, ", found another kind");
  const auto version = number_at<uint32_t>(bytes, kMagic.size());
  if (version != kVersion) fail("version: expected ", kVersion, ", found ", version);
  const auto total = number_at<uint64_t>(bytes, size - sizeof(uint64_t));
  if (!is_magic_at(size - kEnd) || total != size) {
    fail("expected a file that ends with ", kMagic, " and its length, found a cut one");
  }
  const auto head_bytes = number_at<uint64_t>(bytes, kBegin - sizeof(uint64_t));
  const size_t most = size - kBegin - sizeof(uint32_t) - kEnd;
  if (head_bytes > most) fail("head: expected at most ", most, " bytes, found ", head_bytes);
  const auto head = bytes.subspan(kBegin, head_bytes);
  if (number_at<uint32_t>(bytes, kBegin + head_bytes) != crc32c(head)) {
    fail("head: expected other bytes, by its checksum");
  }
  body = body_offset(head_bytes);
  return parse_json({reinterpret_cast<const char*>(head.data()), head.size()}, "session: head");
}

struct PartPlace {
  std::string name;
  int64_t offset = 0, bytes = 0, crc32c = 0;

  template <class Visitor>
  void visit(Visitor&& field) {
    field("name", name), field("offset", offset), field("bytes", bytes), field("crc32c", crc32c);
  }
};

std::vector<PartPlace> places_of(const Json& head) {
  std::vector<PartPlace> places;
  HYPENET_CHECK(head.is_object() && head.contains("parts"),
                "session: head: expected a list of parts, found none");
  read_fields(head["parts"], "session: parts", places);
  return places;
}

}  // namespace

size_t write_session(const std::filesystem::path& path, Json head,
                     std::span<const SessionPart> parts) {
  size_t end = 0;
  const std::string text = with_parts(std::move(head), parts, end).dump();
  const size_t body = body_offset(text.size());
  const size_t total = body + end + kEnd;
  FileWriter file(path);
  file.write(kMagic);
  file.write(bytes_of(kVersion));
  file.write(bytes_of<uint64_t>(text.size()));
  file.write(text);
  file.write(bytes_of(crc32c(as_bytes(text))));
  pad(file, body - kBegin - text.size() - sizeof(uint32_t));
  for (const SessionPart& part : parts) {
    size_t bytes = 0;
    for (const auto& piece : part.pieces)
      file.write(piece.data(), piece.size()), bytes += piece.size();
    pad(file, aligned(bytes) - bytes);
  }
  file.write(kMagic);
  file.write(bytes_of<uint64_t>(total));
  file.commit();
  return total;
}

Json SessionFile::read_head(const std::filesystem::path& path) {
  size_t body = 0;
  return checked_head(MappedFile(path).bytes(), body);
}

SessionFile::SessionFile(const std::filesystem::path& path, Checked checked)
    : file_([&]() -> const std::filesystem::path& {
        HYPENET_CHECK(std::filesystem::is_regular_file(std::filesystem::symlink_status(path)),
                      "session: expected a file, found a link or another thing");
        return path;
      }()),
      checked_(checked) {
  size_t body = 0;
  head_ = checked_head(file_.bytes(), body);
  size_t end = 0;
  for (const PartPlace& place : places_of(head_)) {
    const size_t most = file_.bytes().size() - kEnd;
    const bool fits = place.offset >= 0 && place.bytes >= 0 &&
                      static_cast<size_t>(place.offset) == end && body + end <= most &&
                      static_cast<size_t>(place.bytes) <= most - body - end;
    HYPENET_CHECK(fits, "session: part ", place.name, ": expected it inside the file, found ",
                  place.bytes, " bytes at ", place.offset);
    const auto bytes = file_.bytes().subspan(body + end, static_cast<size_t>(place.bytes));
    parts_.push_back({place.name, bytes, static_cast<uint64_t>(place.crc32c)});
    if (checked_ == Checked::kAtOnce) check(parts_.back());
    end = aligned(end + bytes.size());
  }
  HYPENET_CHECK(body + end + kEnd == file_.bytes().size(), "session: expected ", body + end + kEnd,
                " bytes, found ", file_.bytes().size());
}

void SessionFile::check(const Part& part) const {
  HYPENET_CHECK(crc32c(part.bytes) == part.sum, "session: part ", part.name,
                ": expected other bytes, by its checksum");
}

std::span<const std::byte> SessionFile::part(std::string_view name) const {
  for (const Part& part : parts_) {
    if (part.name != name) continue;
    if (checked_ == Checked::kAtUse) check(part);
    return part.bytes;
  }
  throw Error(concat("session: expected a part ", name, ", found none"));
}

}  // namespace hypenet
