// Token shards: writing, checking and reading (docs/formats.md).
#include "data/token_shard.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <optional>

#include "base/file_kind.h"
#include "base/fnv1a.h"
#include "base/json.h"
#include "data/documents.h"
#include "data/parallel_encoder.h"

namespace hypenet {
namespace fs = std::filesystem;
namespace {

constexpr std::array<char, 8> kMagic = {'H', 'Y', 'P', 'T', 'O', 'K', 'S', '1'};
constexpr const char* kDatasetFile = "dataset.json";

/// What stands before the tokens of a shard; their number follows from dataset.json and must fit
/// the file's size.
struct ShardHeader {
  std::array<char, 8> magic = kMagic;
  uint32_t bytes_per_token = 0;
  uint32_t reserved = 0;
};
static_assert(sizeof(ShardHeader) == 16);

struct ShardEntry {
  std::string file;
  int64_t tokens = 0;
  template <class Visitor>
  void visit(Visitor&& field) {
    field("file", file);
    field("tokens", tokens);
  }
};

struct DatasetEntry {
  int64_t vocab_size = 0, eos_id = 0;
  std::string tokenizer;
  int64_t documents = 0, tokens = 0;
  std::vector<ShardEntry> shards;
  Json left_out;  // BadDocuments::to_json; absent where none was
  template <class Visitor>
  void visit(Visitor&& field) {
    field("vocab_size", vocab_size);
    field("eos_id", eos_id);
    field("tokenizer", tokenizer);
    field("documents", documents);
    field("tokens", tokens);
    field("shards", shards);
    field("left_out", left_out);
  }
};

int64_t bytes_per_token(int64_t vocab_size) {
  return vocab_size <= int64_t{std::numeric_limits<uint16_t>::max()} + 1 ? 2 : 4;
}

/// Cuts one long row of tokens into shard files of a folder.
class ShardsWriter {
 public:
  ShardsWriter(fs::path folder, int64_t bytes_per_token, int64_t shard_tokens)
      : folder_(std::move(folder)),
        bytes_per_token_(bytes_per_token),
        shard_tokens_(shard_tokens) {}

  void append(std::span<const int32_t> tokens) {
    while (!tokens.empty()) {
      if (!file_) open();
      const auto room = static_cast<size_t>(shard_tokens_ - shards_.back().tokens);
      const auto part = tokens.first(std::min(room, tokens.size()));
      write(part);
      tokens = tokens.subspan(part.size());
      if (shards_.back().tokens == shard_tokens_) close();
    }
  }

  /// Finishes the last shard and lists them all.
  std::vector<ShardEntry> finish() {
    if (file_) close();
    return std::move(shards_);
  }

 private:
  void open() {
    shards_.push_back({fmt::format("tokens-{:05}.bin", shards_.size()), 0});
    file_.emplace(folder_ / shards_.back().file);
    const ShardHeader header{.bytes_per_token = static_cast<uint32_t>(bytes_per_token_)};
    file_->write(&header, sizeof header);
  }

  void write(std::span<const int32_t> tokens) {
    if (bytes_per_token_ == 4) {
      file_->write(tokens.data(), tokens.size_bytes());
    } else {
      const std::vector<uint16_t> narrow(tokens.begin(), tokens.end());
      file_->write(narrow.data(), narrow.size() * sizeof(uint16_t));
    }
    shards_.back().tokens += static_cast<int64_t>(tokens.size());
  }

  void close() {
    file_->commit();
    file_.reset();
  }

  fs::path folder_;
  int64_t bytes_per_token_, shard_tokens_;
  std::optional<FileWriter> file_;
  std::vector<ShardEntry> shards_;
};

/// The bytes per token that a shard's header states; its size must be that of `tokens` tokens.
int64_t check_shard(std::span<const std::byte> bytes, int64_t tokens, const std::string& path) {
  ShardHeader header;
  HYPENET_CHECK(bytes.size() >= sizeof header, path, ": expected a header of ", sizeof header,
                " bytes, found a file of ", bytes.size());
  std::memcpy(&header, bytes.data(), sizeof header);
  HYPENET_CHECK(header.magic == kMagic, path,
                ": expected a token shard that begins with HYPTOKS1, found other bytes");
  HYPENET_CHECK(header.bytes_per_token == 2 || header.bytes_per_token == 4, path,
                ": expected 2 or 4 bytes a token, found ", header.bytes_per_token);
  const size_t found = bytes.size() - sizeof header;
  // Divided, not multiplied: the number of tokens may be anything.
  HYPENET_CHECK(found % header.bytes_per_token == 0 &&
                    found / header.bytes_per_token == static_cast<size_t>(tokens),
                path, ": expected ", tokens, " tokens of ", header.bytes_per_token,
                " bytes, found ", found, " bytes");
  return header.bytes_per_token;
}

DatasetEntry read_dataset_file(const fs::path& path) {
  DatasetEntry dataset;
  read_fields(read_json(path), path.string(), dataset);
  HYPENET_CHECK(dataset.vocab_size > 0, path.string(), ": vocab_size: expected more than 0, found ",
                dataset.vocab_size);
  HYPENET_CHECK(dataset.tokens > 0, path.string(), ": tokens: expected more than 0, found ",
                dataset.tokens);
  uint64_t tokens = 0;
  for (const ShardEntry& shard : dataset.shards) {
    HYPENET_CHECK(shard.tokens > 0, path.string(), ": shard ", shard.file,
                  ": expected more than 0 tokens, found ", shard.tokens);
    tokens += static_cast<uint64_t>(shard.tokens);
  }
  HYPENET_CHECK(tokens == static_cast<uint64_t>(dataset.tokens), path.string(), ": tokens is ",
                dataset.tokens, ", the shards hold ", tokens);
  return dataset;
}

}  // namespace

std::string vocabulary_fingerprint(const Tokenizer& tokenizer) {
  Fnv1a hash;
  for (int64_t id = 0; id < tokenizer.vocab_size(); ++id) {
    const std::string_view bytes = tokenizer.token_bytes(static_cast<int32_t>(id));
    hash.add(bytes);
    // The length as well: "a", "bc" is not "ab", "c".
    for (size_t rest = bytes.size(), i = 0; i < 4; ++i, rest >>= 8) hash.add(rest & 0xFF);
  }
  return hash.hex();
}

void check_tokenizer(const TokenDataset& dataset, const Tokenizer& tokenizer,
                     const std::function<void(const std::string&)>& tell) {
  if (dataset.fingerprint() == tokenizer.fingerprint()) return;
  HYPENET_CHECK(dataset.fingerprint() == vocabulary_fingerprint(tokenizer),
                dataset.folder().string(), ": expected tokens of this tokenizer (fingerprint ",
                tokenizer.fingerprint(), "), found those of another one (fingerprint ",
                dataset.fingerprint(), ")");
  if (tell) {
    tell(concat(dataset.folder().string(),
                ": made by an earlier program: that its tokenizer had this one's tokens is known, "
                "that it cut texts alike is not"));
  }
}

FolderKind dataset_kind() { return {"an earlier token dataset", kDatasetFile, {"tokens-*.bin"}}; }

int32_t document_end(const Tokenizer& tokenizer, const fs::path& place) {
  const std::optional<int32_t> eos = tokenizer.eos_id();
  HYPENET_CHECK(eos, place.string(),
                ": expected a tokenizer whose tokenizer_config.json names eos_token, found none");
  return *eos;
}

TokenizeProgress tokenize_corpus(const std::vector<fs::path>& files, const Tokenizer& tokenizer,
                                 const fs::path& out, const TokenizeOptions& options,
                                 const std::function<void(const TokenizeProgress&)>& report) {
  const int32_t eos = document_end(tokenizer, out);
  HYPENET_CHECK(options.shard_tokens > 0, "shard_tokens: expected more than 0, found ",
                options.shard_tokens);
  FolderWriter folder(out, dataset_kind());
  ShardsWriter shards(folder.path(), bytes_per_token(tokenizer.vocab_size()), options.shard_tokens);
  TokenizeProgress progress{.bad = BadDocuments(options.on_bad)};
  const int64_t limit =
      options.max_tokens > 0 ? options.max_tokens : std::numeric_limits<int64_t>::max();

  ParallelEncoder encoder(tokenizer, [&](EncodedDocument& document) {
    std::vector<int32_t>& ids = document.ids;
    ids.push_back(eos);
    ids.resize(static_cast<size_t>(std::min<int64_t>(std::ssize(ids), limit - progress.tokens)));
    shards.append(ids);
    progress.documents += 1;
    progress.tokens += std::ssize(ids);
    progress.bytes += document.bytes;
    progress.bad = std::move(document.bad);
    if (report) report(progress);
    return progress.tokens < limit;
  });
  BadDocuments bad(options.on_bad);
  const auto use = [&](std::string_view text) { return text.empty() || encoder.add(text, bad); };
  try {
    for (const fs::path& file : files) {
      if (progress.tokens < limit) for_each_document(file, options.text_field, bad, use);
    }
  } catch (const Error&) {
    encoder.finish();
    if (progress.tokens < limit) throw;  // else there were enough documents before it
  }
  encoder.finish();
  if (progress.tokens < limit) progress.bad = std::move(bad);
  progress.bad.check_some_are_good();
  HYPENET_CHECK(progress.tokens > 0, out.string(), ": expected documents with text, found none in ",
                files.size(), " files");
  const DatasetEntry dataset = {tokenizer.vocab_size(),  eos,
                                tokenizer.fingerprint(), progress.documents,
                                progress.tokens,         shards.finish(),
                                progress.bad.to_json()};
  Json json = write_fields(dataset);
  if (progress.bad.bad() == 0) json.erase("left_out");
  write_json(folder.path() / kDatasetFile, json);
  folder.commit();
  return progress;
}

TokenDataset::TokenDataset(const fs::path& folder) : folder_(folder) {
  const DatasetEntry dataset = read_dataset_file(folder / kDatasetFile);
  vocab_size_ = dataset.vocab_size;
  fingerprint_ = dataset.tokenizer;
  for (const ShardEntry& entry : dataset.shards) {
    const fs::path path = folder / entry.file;
    read_as("a token shard", "a token shard", path, [&] {
      auto file = std::make_unique<MappedFile>(path);
      const int64_t bytes = check_shard(file->bytes(), entry.tokens, path.string());
      shards_.push_back({std::move(file), tokens_, entry.tokens, bytes});
    });
    tokens_ += entry.tokens;
  }
}

void TokenDataset::read(int64_t begin, std::span<int32_t> out) const {
  int64_t position = begin % tokens_;
  while (!out.empty()) {
    const auto after = std::ranges::upper_bound(shards_, position, {}, &Shard::begin);
    const Shard& shard = *std::prev(after);
    const int64_t offset = position - shard.begin;
    const auto count =
        std::min<int64_t>({std::ssize(out), shard.tokens - offset, tokens_ - position});
    copy_tokens(shard, offset, out.first(static_cast<size_t>(count)));
    out = out.subspan(static_cast<size_t>(count));
    position = (position + count) % tokens_;
  }
}

std::vector<int32_t> TokenDataset::hold_out(int64_t count) {
  HYPENET_CHECK(count >= 0 && count < tokens_, folder_.string(), ": expected to hold out 0 to ",
                tokens_ - 1, " tokens, found ", count);
  std::vector<int32_t> tail(static_cast<size_t>(count));
  read(tokens_ - count, tail);
  tokens_ -= count;
  return tail;
}

void TokenDataset::copy_tokens(const Shard& shard, int64_t offset, std::span<int32_t> out) const {
  const std::byte* tokens = shard.file->bytes().data() + sizeof(ShardHeader);
  if (shard.bytes_per_token == 2) {
    std::copy_n(reinterpret_cast<const uint16_t*>(tokens) + offset, out.size(), out.begin());
  } else {
    std::copy_n(reinterpret_cast<const int32_t*>(tokens) + offset, out.size(), out.begin());
  }
  for (const int32_t id : out) {
    HYPENET_CHECK(id >= 0 && id < vocab_size_, folder_.string(), ": expected token ids below ",
                  vocab_size_, ", found ", id);
  }
}

}  // namespace hypenet
