// The pipeline: added tokens, normalisation, added tokens of normalised text, pre-tokenizers, BPE;
// and back.
#include "text/tokenizer.h"

#include <algorithm>
#include <deque>
#include <unordered_map>
#include <unordered_set>

#include "base/error.h"
#include "base/fnv1a.h"
#include "base/folder_hint.h"
#include "gguf/model_files.h"
#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/byte_level.h"
#include "text/pre_tokenizer.h"
#include "text/stretch_cache.h"
#include "text/token_files.h"
#include "text/tokenizer_file.h"
#include "text/unicode.h"

namespace hypenet {

namespace {

/// One call of encode.
struct Encoding {
  explicit Encoding(size_t text_size) : work(text_size) {}

  /// They ascend, whatever normalisation did.
  void add_begin(size_t begin) {
    begins.push_back(begins.empty() ? begin : std::max(begins.back(), begin));
  }

  std::deque<std::string> storage;  // texts that the pieces look into
  Bpe::Workspace work;
  std::vector<int32_t> ids;
  bool tells_begins = false;
  std::vector<size_t> begins;  // in the text, of each id
};

std::string fingerprint_of(const TokenizerFile& file, std::optional<int32_t> eos) {
  Fnv1a hash;
  const auto add = [&](std::string_view text, auto... numbers) {
    hash.add(text);
    hash.add(uint64_t{text.size()});  // "a", "bc" is not "ab", "c"
    (hash.add(static_cast<uint64_t>(numbers)), ...);
  };
  for (const auto& [entry, id] : file.vocab) add(entry, id);
  for (const auto& [left, right] : file.merges) add(left), add(right);
  for (const SplitRule& rule : file.split_rules) {
    add(rule.pattern.value_or(""), rule.pattern.has_value(), rule.is_literal, rule.behavior,
        rule.invert, rule.add_prefix_space);
  }
  for (const AddedToken& token : file.added_tokens) {
    add(token.content, token.id, token.single_word, token.lstrip, token.rstrip, token.normalized,
        token.special);
  }
  add("", file.nfc, file.ignore_merges, eos.value_or(-1));
  return hash.hex();
}

}  // namespace

struct Tokenizer::Impl {
  explicit Impl(const TokenizerFile& file);

  void encode(std::string_view text, std::span<const TextSpan> plain, StretchCache* known,
              Encoding& encoding) const;
  void encode_known(std::string_view text, size_t begin, StretchCache& known,
                    Encoding& encoding) const;
  void encode_raw(std::string_view text, std::span<const TextSpan> plain, size_t begin,
                  Encoding& encoding) const;
  void encode_words(std::string_view text, size_t begin, Encoding& encoding) const;
  static void add_id(int32_t id, size_t begin, Encoding& encoding);
  void set_bytes(int32_t id, std::string_view entry);
  void add_token(const AddedToken& token, const std::string& place);
  std::optional<int32_t> id_of(const std::optional<std::string>& token) const;

  bool nfc = false;
  AddedTokenFinder raw_tokens, normalized_tokens;
  std::vector<PreTokenizer> pre_tokenizers;
  Bpe bpe;
  std::vector<std::string> bytes;  // [id]
  std::vector<bool> special;       // [id]
  std::unordered_map<std::string, int32_t> ids;
  std::optional<int32_t> bos, eos;
  std::string fingerprint;
};

Tokenizer::Impl::Impl(const TokenizerFile& file) : nfc(file.nfc), bpe(file) {
  for (const SplitRule& rule : file.split_rules) pre_tokenizers.emplace_back(rule);
  for (const auto& [entry, id] : file.vocab) {
    ids.emplace(entry, id);
    set_bytes(id, entry);
  }
  // Of two tokens that look alike after normalisation the special one wins.
  for (const bool wanted : {true, false}) {
    for (const AddedToken& token : file.added_tokens) {
      if (token.special == wanted && !token.content.empty()) add_token(token, file.place);
    }
  }
}

void Tokenizer::Impl::set_bytes(int32_t id, std::string_view entry) {
  const auto index = static_cast<size_t>(id);
  if (index >= bytes.size()) bytes.resize(index + 1);
  bytes[index] = bytes_of_entry(entry).value_or(std::string(entry));
}

void Tokenizer::Impl::add_token(const AddedToken& token, const std::string& place) {
  const auto id = static_cast<int32_t>(token.id);
  const auto [known, is_new] = ids.try_emplace(token.content, id);
  HYPENET_CHECK(known->second == id, place, ": added_tokens: ", token.content,
                ": expected the id of model.vocab, ", known->second, ", found ", id);
  set_bytes(id, token.content);
  if (special.size() < bytes.size()) special.resize(bytes.size());
  special[static_cast<size_t>(id)] = token.special;
  if (!token.normalized) return raw_tokens.add(token, token.content);
  normalized_tokens.add(token, nfc ? hypenet::nfc(token.content) : token.content);
}

std::optional<int32_t> Tokenizer::Impl::id_of(const std::optional<std::string>& token) const {
  const auto found = token ? ids.find(*token) : ids.end();
  return found == ids.end() ? std::nullopt : std::optional(found->second);
}

void Tokenizer::Impl::encode(std::string_view text, std::span<const TextSpan> plain,
                             StretchCache* known, Encoding& encoding) const {
  constexpr size_t kWorthKeeping = 128;  // bytes
  // Tokens of normalised text depend on the spans, too.
  if (!normalized_tokens.is_empty()) known = nullptr;
  for (const Segment& segment : raw_tokens.split(text, plain)) {
    const auto begin = static_cast<size_t>(segment.text.data() - text.data());
    if (segment.id) {
      add_id(*segment.id, begin, encoding);
    } else if (known != nullptr && segment.text.size() >= kWorthKeeping) {
      encode_known(segment.text, begin, *known, encoding);
    } else {
      encode_raw(segment.text, plain, begin, encoding);
    }
  }
}

void Tokenizer::Impl::encode_known(std::string_view text, size_t begin, StretchCache& known,
                                   Encoding& encoding) const {
  StretchCache::Known found = known.find(text);
  if (!found) {
    Encoding own(text.size());
    own.tells_begins = true;
    encode_raw(text, {}, 0, own);
    found =
        std::make_shared<TokenizedText>(TokenizedText{std::move(own.ids), std::move(own.begins)});
    known.put(text, found);
  }
  encoding.ids.insert(encoding.ids.end(), found->ids.begin(), found->ids.end());
  if (!encoding.tells_begins) return;
  for (const size_t own : found->begins) encoding.add_begin(begin + own);
}

/// A stretch without raw tokens, which begins at byte `begin` of the text that the spans are of.
void Tokenizer::Impl::encode_raw(std::string_view text, std::span<const TextSpan> plain,
                                 size_t begin, Encoding& encoding) const {
  std::vector<TextSpan> spans;
  if (!normalized_tokens.is_empty()) spans = clip_spans(plain, begin, begin + text.size());
  if (nfc && !is_surely_nfc(text)) {
    if (spans.empty()) {
      text = encoding.storage.emplace_back(hypenet::nfc(text));
    } else {
      NormalizedText normalized = nfc_with_spans(text, spans);
      text = encoding.storage.emplace_back(std::move(normalized.text));
      spans = std::move(normalized.spans);
    }
  }
  for (const Segment& part : normalized_tokens.split(text, spans)) {
    const size_t part_begin = begin + static_cast<size_t>(part.text.data() - text.data());
    if (part.id) {
      add_id(*part.id, part_begin, encoding);
    } else {
      encode_words(part.text, part_begin, encoding);
    }
  }
}

void Tokenizer::Impl::encode_words(std::string_view text, size_t begin, Encoding& encoding) const {
  std::vector<std::string_view> words{text};
  for (const PreTokenizer& step : pre_tokenizers) words = step.split(words, encoding.storage);
  for (const std::string_view word : words) bpe.encode(word, encoding.work, encoding.ids);
  if (!encoding.tells_begins) return;
  for (size_t i = encoding.begins.size(); i < encoding.ids.size(); ++i) {
    encoding.add_begin(begin);
    begin += bytes[static_cast<size_t>(encoding.ids[i])].size();
  }
}

void Tokenizer::Impl::add_id(int32_t id, size_t begin, Encoding& encoding) {
  encoding.ids.push_back(id);
  if (encoding.tells_begins) encoding.add_begin(begin);
}

Tokenizer::Tokenizer(std::unique_ptr<const Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;

Tokenizer Tokenizer::load(const std::filesystem::path& folder) {
  std::error_code ignored;
  const bool is_file = is_gguf(folder);
  if (!is_file && !std::filesystem::exists(folder / "tokenizer.json", ignored)) {
    check_model_folder(folder);
  }
  const ModelFiles files(folder);
  TokenizerFile file = read_tokenizer_file(files);
  const NamedTokens named = read_token_files(files, file);
  auto impl = std::make_unique<Impl>(file);
  impl->bos = impl->id_of(named.bos);
  impl->eos = impl->id_of(named.eos);
  impl->fingerprint = fingerprint_of(file, impl->eos);
  return Tokenizer(std::move(impl));
}

std::vector<int32_t> Tokenizer::encode(std::string_view text) const {
  Encoding encoding(text.size());
  if (!is_utf8(text)) text = encoding.storage.emplace_back(replace_invalid_utf8(text));
  impl_->encode(text, {}, nullptr, encoding);
  return std::move(encoding.ids);
}

TokenizedText Tokenizer::encode_spans(std::string_view text, std::span<const TextSpan> plain,
                                      StretchCache* known) const {
  HYPENET_CHECK(is_utf8(text), "text: expected valid UTF-8, found other bytes");
  Encoding encoding(text.size());
  encoding.tells_begins = true;
  impl_->encode(text, plain, known, encoding);
  return {std::move(encoding.ids), std::move(encoding.begins)};
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special_tokens) const {
  std::string bytes;
  for (const int32_t id : ids) {
    if (!(skip_special_tokens && is_special(id))) bytes += token_bytes(id);
  }
  return is_utf8(bytes) ? bytes : replace_invalid_utf8(bytes);
}

std::string_view Tokenizer::token_bytes(int32_t id) const {
  if (id < 0 || id >= vocab_size()) return {};
  return impl_->bytes[static_cast<size_t>(id)];
}

bool Tokenizer::is_special(int32_t id) const {
  return id >= 0 && static_cast<size_t>(id) < impl_->special.size() &&
         impl_->special[static_cast<size_t>(id)];
}

std::optional<int32_t> Tokenizer::token_id(std::string_view token) const {
  const auto found = impl_->ids.find(std::string(token));
  return found == impl_->ids.end() ? std::nullopt : std::optional(found->second);
}

int64_t Tokenizer::vocab_size() const { return static_cast<int64_t>(impl_->bytes.size()); }

std::optional<int32_t> Tokenizer::bos_id() const { return impl_->bos; }

std::optional<int32_t> Tokenizer::eos_id() const { return impl_->eos; }

const std::string& Tokenizer::fingerprint() const { return impl_->fingerprint; }

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, bool skip_special_tokens)
    : tokenizer_(tokenizer), skip_special_tokens_(skip_special_tokens) {}

std::string StreamDecoder::push(int32_t id) {
  if (skip_special_tokens_ && tokenizer_.is_special(id)) return {};
  held_ += tokenizer_.token_bytes(id);
  const size_t complete = complete_utf8_size(held_);
  std::string text = replace_invalid_utf8(std::string_view(held_).substr(0, complete));
  held_.erase(0, complete);
  return text;
}

std::string StreamDecoder::finish() {
  std::string text = replace_invalid_utf8(held_);
  held_.clear();
  return text;
}

}  // namespace hypenet
