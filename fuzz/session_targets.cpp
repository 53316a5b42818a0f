// Targets of what a server keeps on its disk: sessions and kept prompts, whose checksums are right
// whatever the input.
#include <algorithm>

#include "base/crc32c.h"
#include "base/error.h"
#include "fuzz/target.h"
#include "serve/prefix_files.h"
#include "serve/sessions.h"

namespace hypenet::fuzz {
namespace {

constexpr std::string_view kMagic = "HYPSESS1";
constexpr size_t kAlign = 4096, kMostBody = size_t{1} << 16;

uint32_t sum_of(std::string_view bytes) {
  return crc32c(std::as_bytes(std::span(bytes.data(), bytes.size())));
}

template <class Number>
std::string bytes_of(Number number) {
  return {reinterpret_cast<const char*>(&number), sizeof(number)};
}

size_t aligned(size_t bytes) { return (bytes + kAlign - 1) / kAlign * kAlign; }

/// The head, its parts with the sums of the bytes that they point to; the body is made as long as
/// the parts want it.
std::string with_sums(std::string_view head, std::string& body) {
  Json json = Json::parse(head, nullptr, false);
  if (!json.is_object() || !json.contains("parts") || !json["parts"].is_array())
    return std::string(head);
  for (Json& part : json["parts"]) {
    if (!part.is_object() || !part.contains("offset") || !part.contains("bytes")) continue;
    if (!part["offset"].is_number_unsigned() || !part["bytes"].is_number_unsigned()) continue;
    const auto offset = part["offset"].get<uint64_t>(), bytes = part["bytes"].get<uint64_t>();
    if (offset > kMostBody || bytes > kMostBody) continue;
    body.resize(std::max(body.size(), aligned(offset + bytes)));
    part["crc32c"] = sum_of(std::string_view(body).substr(offset, bytes));
  }
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

/// The input's head and body as such a file (serve/session_file.h says how it is laid out).
std::string session_of(std::string_view input) {
  const auto part = parts(input, 2);
  std::string body(part[1]);
  body.resize(aligned(body.size()));
  const std::string head = with_sums(part[0], body);
  std::string file(kMagic);
  file += bytes_of<uint32_t>(1) + bytes_of<uint64_t>(head.size()) + head + bytes_of(sum_of(head));
  file.resize(aligned(file.size()));
  file += body;
  file += kMagic;
  return file + bytes_of<uint64_t>(file.size() + sizeof(uint64_t));
}

}  // namespace

/// head (JSON) --- the parts' bytes
void read_session(std::string_view input) {
  put("sessions/s.session", session_of(input));
  Sessions sessions(folder() / "sessions", {});
  sessions.list();
  attempt([&] { sessions.messages("s"); });
  for (const bool as_nearest : {false, true}) {
    attempt([&] { sessions.load("s", as_nearest); });
  }
}

/// The same, as a piece of a kept prompt.
void read_prefix(std::string_view input) {
  const std::string id(64, '0');
  put("kept/" + id + ".prefix", session_of(input));
  PrefixFiles files(folder() / "kept", {}, [](const std::string&) {});
  files.list();
  const Tensor pages[] = {torch::zeros({64}, torch::kUInt8), torch::zeros({64}, torch::kUInt8)};
  attempt([&] { files.read(id, pages, torch::zeros({32}, torch::kUInt8)); });
}

}  // namespace hypenet::fuzz
