// A session's file: facts and pieces in its head; tokens, states and pages as its parts.
#include "serve/sessions.h"

#include <algorithm>
#include <cstring>
#include <ctime>
#include <utility>

#include "engine/tensor_bytes.h"
#include "serve/session_file.h"

namespace hypenet {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kEnding = ".session";
constexpr size_t kMostName = 64;
constexpr int64_t kMostTokens = int64_t{1} << 31;  // of a piece: sums stay far below 2^63

/// What two engines must share even where a restored prefix need not be exact.
constexpr const char* kExactFacts[] = {"grid", "device", "numerics"};

struct PieceFacts {
  int64_t tokens = 0;
  bool is_exact = false, is_marked = false, has_states = false;

  template <class Visitor>
  void visit(Visitor&& field) {
    field("tokens", tokens);
    field("exact", is_exact);
    field("marked", is_marked);
    field("states", has_states);
  }
};

/// What a file's head says beside the facts and the parts.
struct SessionHead {
  Json facts = Json::object();
  int64_t created = 0, prompt_tokens = 0, page_bytes = 0, state_bytes = 0;
  std::vector<PieceFacts> pieces = {};
  Json messages = nullptr, parts = nullptr;

  template <class Visitor>
  void visit(Visitor&& field) {
    field("facts", facts);
    field("created", created);
    field("prompt_tokens", prompt_tokens);
    field("page_bytes", page_bytes);
    field("state_bytes", state_bytes);
    field("pieces", pieces);
    field("messages", messages);
    field("parts", parts);
  }

  int64_t tokens() const {
    int64_t sum = 0;
    for (const PieceFacts& piece : pieces) sum += piece.tokens;
    return sum;
  }
  int64_t snapshots() const {
    return std::ranges::count_if(pieces, [](const auto& piece) { return piece.has_states; });
  }
};

SessionHead read_head(const Json& json) {
  SessionHead head;
  read_fields(json, "session: head", head);
  for (const PieceFacts& piece : head.pieces) {
    HYPENET_CHECK(piece.tokens > 0 && piece.tokens <= kMostTokens,
                  "session: pieces: expected 1 to ", kMostTokens, " tokens each, found ",
                  piece.tokens);
  }
  return head;
}

Tensor tensor_of(std::span<const std::byte> bytes) {
  Tensor tensor = torch::empty({static_cast<int64_t>(bytes.size())}, torch::kUInt8);
  if (!bytes.empty()) std::memcpy(tensor.mutable_data_ptr(), bytes.data(), bytes.size());
  return tensor;
}

/// Row i of a part whose rows have `size` bytes. Throws Error where it is not there.
std::span<const std::byte> row_of(std::span<const std::byte> part, size_t i, int64_t size) {
  const auto bytes = static_cast<size_t>(size);
  HYPENET_CHECK(size >= 0 && (i + 1) * bytes <= part.size(),
                "session: expected as many bytes as the head says, found fewer");
  return part.subspan(i * bytes, bytes);
}

SavedPrefix read_prefix(const SessionFile& file, const SessionHead& head) {
  SavedPrefix prefix;
  const auto tokens = file.part("tokens");
  HYPENET_CHECK(tokens.size() == static_cast<size_t>(head.tokens()) * sizeof(int32_t),
                "session: tokens: expected ", head.tokens(), ", found ",
                tokens.size() / sizeof(int32_t));
  prefix.tokens.resize(tokens.size() / sizeof(int32_t));
  if (!tokens.empty()) std::memcpy(prefix.tokens.data(), tokens.data(), tokens.size());
  const auto states = file.part("states");
  size_t taken = 0;
  for (const PieceFacts& facts : head.pieces) {
    SavedPrefix::Piece piece{
        .tokens = facts.tokens, .is_exact = facts.is_exact, .is_marked = facts.is_marked};
    if (facts.has_states) piece.states = tensor_of(row_of(states, taken++, head.state_bytes));
    prefix.pieces.push_back(std::move(piece));
  }
  const auto pages = file.part("pages");
  const size_t count =
      head.page_bytes > 0 ? pages.size() / static_cast<size_t>(head.page_bytes) : 0;
  for (size_t i = 0; i < count; ++i) {
    prefix.pages.push_back(tensor_of(row_of(pages, i, head.page_bytes)));
  }
  return prefix;
}

/// Not a link, a folder or another thing.
bool is_file(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(fs::symlink_status(path, ignored));
}

/// Without paths: they are nobody's affair beyond this machine.
[[noreturn]] void fail_to_write(const fs::path& folder, int64_t bytes) {
  std::error_code ignored;
  const auto space = fs::space(folder, ignored);
  if (!ignored && static_cast<int64_t>(space.available) < bytes) {
    throw ApiError("no_space", concat("the session folder: expected ", bytes, " bytes free, found ",
                                      space.available));
  }
  throw ApiError("internal", "the session folder: the session could not be written");
}

}  // namespace

Sessions::Sessions(fs::path folder, SessionFacts facts)
    : folder_(std::move(folder)), facts_(std::move(facts)) {
  if (folder_.empty()) return;
  fs::create_directories(folder_);
  for (const auto& entry : fs::directory_iterator(folder_)) {
    const std::string name = entry.path().filename().string();
    if (name.ends_with(kPartialEnding)) fs::remove(entry.path());
  }
}

Sessions::Writing::~Writing() {
  if (sessions_ == nullptr) return;
  const std::scoped_lock lock(sessions_->mutex_);
  sessions_->writing_.erase(name_);
}

Sessions::Writing Sessions::begin_writing(const std::string& name) {
  path_of(name);
  const std::scoped_lock lock(mutex_);
  if (!writing_.insert(name).second) {
    throw ApiError("session_busy",
                   concat("session ", name, ": expected no other writer, found one"));
  }
  return {*this, name};
}

fs::path Sessions::path_of(const std::string& name) const {
  if (!is_enabled()) {
    throw ApiError("sessions_disabled", "expected --session-dir, found none");
  }
  const auto is_letter = [](unsigned char c) { return std::isalnum(c) != 0; };
  const bool is_name =
      !name.empty() && name.size() <= kMostName && is_letter(static_cast<unsigned char>(name[0])) &&
      std::ranges::all_of(
          name, [&](unsigned char c) { return is_letter(c) || c == '.' || c == '_' || c == '-'; });
  if (!is_name) {
    throw ApiError("invalid_value",
                   concat("name: expected 1 to ", kMostName,
                          " letters, digits, dots, - or _, beginning with a letter or digit"),
                   "name");
  }
  return folder_ / (name + std::string(kEnding));
}

SessionAbout Sessions::save(const std::string& name, const SavedPrefix& prefix, int64_t tokens,
                            Json messages) {
  SessionHead head{
      .facts = write_fields(facts_), .created = std::time(nullptr), .prompt_tokens = tokens};
  head.messages = std::move(messages);
  SessionPart states{.name = "states"}, pages{.name = "pages"};
  for (const auto& piece : prefix.pieces) {
    head.pieces.push_back({.tokens = piece.tokens,
                           .is_exact = piece.is_exact,
                           .is_marked = piece.is_marked,
                           .has_states = piece.states.defined()});
    if (!piece.states.defined()) continue;
    head.state_bytes = static_cast<int64_t>(piece.states.nbytes());
    states.pieces.push_back(bytes_of(piece.states));
  }
  for (const Tensor& page : prefix.pages) {
    head.page_bytes = static_cast<int64_t>(page.nbytes());
    pages.pieces.push_back(bytes_of(page));
  }
  Json json = write_fields(head);
  json.erase("parts");
  const SessionPart ids{.name = "tokens", .pieces = {std::as_bytes(std::span(prefix.tokens))}};
  const SessionPart parts[] = {ids, states, pages};
  const fs::path path = path_of(name);
  size_t bytes = 0;
  try {
    bytes = write_session(path, std::move(json), parts);
  } catch (const Error&) {
    fail_to_write(folder_, head.state_bytes * head.snapshots() +
                               head.page_bytes * static_cast<int64_t>(prefix.pages.size()));
  }
  return {.tokens = tokens,
          .saved_tokens = head.tokens(),
          .snapshots = head.snapshots(),
          .bytes = static_cast<int64_t>(bytes),
          .created = head.created,
          .fits = true};
}

void Sessions::check_facts(const Json& head, bool as_nearest) const {
  Json expected = write_fields(facts_), found = head;
  if (as_nearest && found.is_object()) {
    for (const char* fact : kExactFacts) expected.erase(fact), found.erase(fact);
  }
  const std::string difference = first_difference(expected, found);
  if (!difference.empty()) throw ApiError("session_mismatch", "session: " + difference);
}

/// Throws session_not_found where there is nothing of that name.
fs::path Sessions::known_path(const std::string& name) const {
  fs::path path = path_of(name);
  std::error_code ignored;
  if (!fs::exists(fs::symlink_status(path, ignored))) {
    throw ApiError("session_not_found", concat("expected a session, found none named ", name));
  }
  return path;
}

Json Sessions::messages(const std::string& name) const {
  const fs::path path = known_path(name);
  try {
    return read_head(SessionFile(path, SessionFile::Checked::kAtUse).head()).messages;
  } catch (const Error& error) {
    throw ApiError("session_corrupt", error.what());
  }
}

SavedPrefix Sessions::load(const std::string& name, bool as_nearest) const {
  const fs::path path = known_path(name);
  try {
    const SessionFile file(path);
    const SessionHead head = read_head(file.head());
    check_facts(head.facts, as_nearest);
    SavedPrefix prefix = read_prefix(file, head);
    if (as_nearest) {
      for (auto& piece : prefix.pieces) piece.is_exact = false;
    }
    return prefix;
  } catch (const ApiError&) {
    throw;
  } catch (const Error& error) {
    throw ApiError("session_corrupt", error.what());
  }
}

Json Sessions::about(const std::string& name) const {
  const fs::path path = path_of(name);
  std::error_code ignored;
  if (!is_file(path)) {
    throw ApiError("session_not_found", concat("expected a session, found none named ", name));
  }
  Json json = {{"name", name}, {"bytes", fs::file_size(path, ignored)}};
  try {
    const SessionHead head = read_head(SessionFile::read_head(path));
    json["tokens"] = head.prompt_tokens;
    json["saved_tokens"] = head.tokens();
    json["snapshots"] = head.snapshots();
    json["created"] = head.created;
    check_facts(head.facts, false);
    json["fits"] = true;
  } catch (const Error& error) {
    json["fits"] = false;
    json["why"] = error.what();
  }
  return json;
}

Json Sessions::list() const {
  if (!is_enabled()) throw ApiError("sessions_disabled", "expected --session-dir, found none");
  std::vector<std::string> names;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder_, ignored)) {
    if (entry.path().extension() == kEnding && is_file(entry.path()))
      names.push_back(entry.path().stem().string());
  }
  std::ranges::sort(names);
  Json data = Json::array();
  for (const std::string& name : names) {
    try {
      data.push_back(about(name));
    } catch (const ApiError&) {  // removed meanwhile, or no name of ours
    }
  }
  return {{"object", "list"}, {"data", std::move(data)}};
}

void Sessions::remove(const std::string& name) {
  const Writing writing = begin_writing(name);
  const fs::path path = path_of(name);
  std::error_code error;
  if (!is_file(path) || !fs::remove(path, error)) {
    if (error) throw ApiError("internal", "the session folder: the session could not be removed");
    throw ApiError("session_not_found", concat("expected a session, found none named ", name));
  }
}

}  // namespace hypenet
