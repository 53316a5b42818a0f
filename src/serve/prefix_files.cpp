// A piece's file: facts, place in the tree and sizes in its head; tokens, pages and states as its
// parts. At the start heads and tokens are read, the rest on use.
#include "serve/prefix_files.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "engine/tensor_bytes.h"
#include "serve/session_file.h"

namespace hypenet {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kEnding = ".prefix";
constexpr size_t kIdDigits = 64;

struct PieceHead {
  Json facts = Json::object();
  std::string id, parent, salt;
  bool is_exact = false, is_marked = false, has_states = false;
  int64_t pages = 0, page_bytes = 0, state_bytes = 0, uses = 1;
  double age = 0;
  Json parts = nullptr;

  template <class Visitor>
  void visit(Visitor&& field) {
    field("facts", facts);
    field("id", id);
    field("parent", parent);
    field("salt", salt);
    field("exact", is_exact);
    field("marked", is_marked);
    field("states", has_states);
    field("pages", pages);
    field("page_bytes", page_bytes);
    field("state_bytes", state_bytes);
    field("uses", uses);
    field("age", age);
    field("parts", parts);
  }
};

PieceHead read_head(const Json& json) {
  PieceHead head;
  read_fields(json, "kept prompt: head", head);
  return head;
}

/// Row i of a part into a tensor of a row's size.
void read_row(std::span<const std::byte> part, size_t i, const Tensor& row) {
  const auto bytes = static_cast<size_t>(row.nbytes());
  HYPENET_CHECK((i + 1) * bytes <= part.size(), "expected ", (i + 1) * bytes, " bytes, found ",
                part.size());
  if (bytes > 0) std::memcpy(row.mutable_data_ptr(), part.data() + i * bytes, bytes);
}

bool is_id(const std::string& text) {
  return text.size() == kIdDigits && text.find_first_not_of("0123456789abcdef") == text.npos;
}

/// The id in a name like those that are written here; empty: another file.
std::string id_in(const fs::path& path) {
  std::error_code ignored;
  const bool is_ours = path.extension() == kEnding && is_id(path.stem().string()) &&
                       fs::is_regular_file(fs::symlink_status(path, ignored));
  return is_ours ? path.stem().string() : "";
}

StoredPiece piece_in(const SessionFile& file, PieceHead head, const fs::path& path) {
  StoredPiece piece{.id = std::move(head.id),
                    .parent = std::move(head.parent),
                    .salt = std::move(head.salt),
                    .is_exact = head.is_exact,
                    .is_marked = head.is_marked,
                    .has_states = head.has_states,
                    .pages = head.pages,
                    .uses = std::clamp<int64_t>(head.uses, 1, int64_t{1} << 40),
                    .age = head.age};
  const auto tokens = file.part("tokens");
  piece.tokens.resize(tokens.size() / sizeof(int32_t));
  if (!tokens.empty()) std::memcpy(piece.tokens.data(), tokens.data(), tokens.size());
  piece.bytes = static_cast<int64_t>(fs::file_size(path));
  return piece;
}

/// Throws Error naming the role of the folder and not its path, which is nobody's affair.
[[noreturn]] void fail(const char* action, const std::exception& error, const fs::path& folder) {
  std::string reason = error.what();
  const std::string path = folder.string();
  for (size_t at = reason.find(path); at != reason.npos; at = reason.find(path)) {
    reason.replace(at, path.size(), "--cache-dir");
  }
  throw Error(concat("kept prompts: cannot ", action, ": ", reason));
}

}  // namespace

PrefixFiles::PrefixFiles(fs::path folder, SessionFacts facts,
                         std::function<void(const std::string&)> tell)
    : folder_(std::move(folder)), facts_(std::move(facts)), tell_(std::move(tell)) {
  std::error_code error;
  const bool is_new = fs::create_directories(folder_, error);
  HYPENET_CHECK(!error, "--cache-dir: ", folder_.string(), ": cannot be made: ", error.message());
  if (is_new) fs::permissions(folder_, fs::perms::owner_all, error);
  lock_ = FolderLock(folder_);
  for (const auto& entry : fs::directory_iterator(folder_)) {
    const std::string name = entry.path().filename().string();
    if (name.ends_with(concat(kEnding, kPartialEnding))) {
      fs::remove(entry.path());
    }
  }
}

fs::path PrefixFiles::path_of(const std::string& id) const {
  HYPENET_CHECK(is_id(id), "kept prompts: expected an id of ", kIdDigits, " digits");
  return folder_ / concat(id, kEnding);
}

std::vector<StoredPiece> PrefixFiles::list() {
  std::vector<StoredPiece> pieces;
  std::vector<std::pair<fs::file_time_type, fs::path>> others;
  const Json facts = write_fields(facts_);
  for (const auto& entry : fs::directory_iterator(folder_)) {
    const fs::path& path = entry.path();
    const std::string id = id_in(path);
    if (id.empty()) continue;
    try {
      const SessionFile file(path, SessionFile::Checked::kAtUse);
      PieceHead head = read_head(file.head());
      if (head.facts == facts && head.id == id) {
        pieces.push_back(piece_in(file, std::move(head), path));
        continue;
      }
    } catch (const std::exception&) {  // cut off, or changed: worth nothing
    }
    std::error_code ignored;
    others.emplace_back(fs::last_write_time(path, ignored), path);
  }
  std::ranges::sort(others, std::greater());
  others_.clear();
  for (auto& [time, path] : others) others_.push_back(std::move(path));
  return pieces;
}

int64_t PrefixFiles::write(const StoredPiece& piece, std::span<const Tensor> pages,
                           const Tensor& states) {
  PieceHead head{.facts = write_fields(facts_),
                 .id = piece.id,
                 .parent = piece.parent,
                 .salt = piece.salt,
                 .is_exact = piece.is_exact,
                 .is_marked = piece.is_marked,
                 .has_states = piece.has_states,
                 .pages = std::ssize(pages),
                 .page_bytes = pages.empty() ? 0 : static_cast<int64_t>(pages.front().nbytes()),
                 .state_bytes = states.defined() ? static_cast<int64_t>(states.nbytes()) : 0,
                 .uses = piece.uses,
                 .age = piece.age};
  SessionPart kept{.name = "pages"}, ends{.name = "states"};
  for (const Tensor& page : pages) kept.pieces.push_back(bytes_of(page));
  if (states.defined()) ends.pieces.push_back(bytes_of(states));
  const SessionPart tokens{.name = "tokens", .pieces = {std::as_bytes(std::span(piece.tokens))}};
  const SessionPart parts[] = {tokens, std::move(kept), std::move(ends)};
  Json json = write_fields(head);
  json.erase("parts");
  make_space(head.pages * head.page_bytes + head.state_bytes);
  try {
    return static_cast<int64_t>(write_session(path_of(piece.id), std::move(json), parts));
  } catch (const std::exception& error) {
    fail("write a file", error, folder_);
  }
}

/// Where the disk is full, files of other models give way.
void PrefixFiles::make_space(int64_t bytes) {
  const auto has_space = [&] {
    std::error_code error;
    const auto space = fs::space(folder_, error);
    return error || static_cast<int64_t>(space.available) > bytes + (int64_t{1} << 20);
  };
  while (!has_space()) {
    HYPENET_CHECK(!others_.empty(), "kept prompts: cannot write a file: the disk is full");
    std::error_code ignored;
    fs::remove(others_.back(), ignored);
    others_.pop_back();
  }
}

void PrefixFiles::read(const std::string& id, std::span<const Tensor> pages, const Tensor& states) {
  try {
    const SessionFile file(path_of(id), SessionFile::Checked::kAtUse);
    if (!pages.empty()) {
      const auto part = file.part("pages");
      for (size_t i = 0; i < pages.size(); ++i) read_row(part, i, pages[i]);
    }
    if (states.defined()) read_row(file.part("states"), 0, states);
  } catch (const std::exception& error) {
    fail("read a file", error, folder_);
  }
}

void PrefixFiles::remove(const std::string& id) {
  std::error_code ignored;
  fs::remove(path_of(id), ignored);
}

}  // namespace hypenet
