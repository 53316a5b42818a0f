// Byte-level BPE as Hugging Face's tokenizer.json describes it. Ids equal those of the `tokenizers`
// library.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/text_span.h"

namespace hypenet {

/// Token ids, and at which byte of the text each begins. Where the tokenizer changes a text (NFC, a
/// space in front) these are off by what it changed, up to the next added token. They ascend.
struct TokenizedText {
  std::vector<int32_t> ids;
  std::vector<size_t> begins;
};

class StretchCache;

/// A tokenizer read from tokenizer.json: normalizer (NFC or none), added tokens, pre-tokenizers
/// (Split by regex, Digits, ByteLevel, Sequence), BPE merges, byte-level decoder. Immutable, so it
/// may be shared between threads.
class Tokenizer {
 public:
  /// Reads <folder>/tokenizer.json, and the files beside it that name tokens (text/token_files.h);
  /// of a GGUF file the keys that say the same.
  /// Throws Error naming the file and the key when something is missing, malformed or not
  /// supported.
  static Tokenizer load(const std::filesystem::path& folder);

  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;

  /// Token ids of a text. Added tokens that occur in it (like <|endoftext|>) become their ids;
  /// nothing is put before or after. Invalid UTF-8 is read as U+FFFD, as Python's
  /// decode(errors="replace") does.
  std::vector<int32_t> encode(std::string_view text) const;

  /// The same where no added token may have a byte of the `plain` spans, which are ascending: they
  /// are cut and merged with what is around them as ordinary text. The text must be valid UTF-8.
  /// Stretches between added tokens that `known` holds are taken from there, others put there.
  TokenizedText encode_spans(std::string_view text, std::span<const TextSpan> plain,
                             StretchCache* known = nullptr) const;

  /// The text of the ids; incomplete UTF-8 becomes U+FFFD. Ids outside the vocabulary give nothing.
  std::string decode(std::span<const int32_t> ids, bool skip_special_tokens = false) const;

  /// The raw bytes of one token (a piece of a UTF-8 character is possible). Empty for an unknown
  /// id.
  std::string_view token_bytes(int32_t id) const;

  bool is_special(int32_t id) const;
  std::optional<int32_t> token_id(std::string_view token) const;

  /// One more than the largest id.
  int64_t vocab_size() const;

  /// From tokenizer_config.json; nullopt where it names none.
  std::optional<int32_t> bos_id() const;
  std::optional<int32_t> eos_id() const;

  /// 16 digits of all that decides a text's ids and the end behind it: vocabulary, merges, splits,
  /// normalizer, added tokens, EOS. Neither the place of the files nor their form is part of it.
  const std::string& fingerprint() const;

 private:
  struct Impl;
  explicit Tokenizer(std::unique_ptr<const Impl> impl);
  std::unique_ptr<const Impl> impl_;
};

/// Decodes a stream of ids piece by piece and never splits a UTF-8 character: bytes are held back
/// until complete.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer, bool skip_special_tokens = true);

  /// The text that became complete with this id; may be empty.
  std::string push(int32_t id);

  /// What is still held back, as U+FFFD. Afterwards the decoder is empty.
  std::string finish();

 private:
  const Tokenizer& tokenizer_;
  bool skip_special_tokens_;
  std::string held_;
};

}  // namespace hypenet
