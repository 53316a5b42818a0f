// Token shards: a text corpus as token ids on disk, memory-mapped. Format in docs/formats.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/folder_writer.h"
#include "data/bad_documents.h"
#include "text/tokenizer.h"

namespace hypenet {

struct TokenizeOptions {
  std::string text_field = "text";
  int64_t shard_tokens = int64_t{1} << 28;
  int64_t max_tokens = 0;  // stop after so many; 0 means all
  OnBadDocument on_bad = OnBadDocument::kSkip;
};

struct TokenizeProgress {
  int64_t documents = 0, tokens = 0, bytes = 0;
  BadDocuments bad = BadDocuments();
};

/// A token dataset, as tokenize_corpus writes it (base/folder_writer.h).
FolderKind dataset_kind();

/// EOS, which follows each document. Throws Error, beginning with `place`, for a tokenizer that
/// names none.
int32_t document_end(const Tokenizer& tokenizer, const std::filesystem::path& place);

/// Tokenizes the documents of `files`, on all cores, into folder `out` (shards and dataset.json,
/// written temporary-then-rename), each followed by EOS; documents without text are left out,
/// likewise bad ones unless they are to fail. Throws Error for an empty corpus, one of bad
/// documents alone, a tokenizer that names no EOS, or a folder that is there and no earlier
/// dataset.
TokenizeProgress tokenize_corpus(const std::vector<std::filesystem::path>& files,
                                 const Tokenizer& tokenizer, const std::filesystem::path& out,
                                 const TokenizeOptions& options,
                                 const std::function<void(const TokenizeProgress&)>& report = {});

/// A hash of the tokenizer's vocabulary alone (64-bit FNV-1a over every token's bytes, in hex).
std::string vocabulary_fingerprint(const Tokenizer& tokenizer);

/// An opened folder of shards, read as one long row of tokens.
class TokenDataset {
 public:
  /// Throws Error naming the file on anything malformed or truncated.
  explicit TokenDataset(const std::filesystem::path& folder);

  int64_t tokens() const { return tokens_; }
  int64_t vocab_size() const { return vocab_size_; }
  const std::string& fingerprint() const { return fingerprint_; }  // of its tokenizer
  const std::filesystem::path& folder() const { return folder_; }

  /// Copies tokens [begin, begin + out.size()) into out, begin >= 0; wraps around at the end.
  /// Throws Error for an id that the vocabulary does not have.
  void read(int64_t begin, std::span<int32_t> out) const;

  /// Takes the last `count` tokens away: they are returned, and the dataset ends before them.
  std::vector<int32_t> hold_out(int64_t count);

 private:
  struct Shard {
    std::unique_ptr<MappedFile> file;
    int64_t begin, tokens;
    int64_t bytes_per_token;
  };
  void copy_tokens(const Shard& shard, int64_t offset, std::span<int32_t> out) const;

  std::filesystem::path folder_;
  std::string fingerprint_;
  std::vector<Shard> shards_;
  int64_t tokens_ = 0, vocab_size_ = 0;
};

/// Throws Error unless the dataset is of this tokenizer's tokens. An earlier program's has the
/// vocabulary_fingerprint: where that fits, `tell`, which may be empty, hears that no more is
/// known.
void check_tokenizer(const TokenDataset& dataset, const Tokenizer& tokenizer,
                     const std::function<void(const std::string& text)>& tell = {});

}  // namespace hypenet
