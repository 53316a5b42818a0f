// Grammars compiled and followed by xgrammar, whose headers are included here alone. It reads the
// EBNF that json_schema.h and tool_grammar.h write; its own reading of schemas is not used.
#include <xgrammar/compiler.h>
#include <xgrammar/matcher.h>

#include <algorithm>
#include <list>
#include <mutex>
#include <optional>
#include <utility>

#include "serve/grammar/constraint.h"
#include "serve/grammar/ebnf.h"
#include "serve/grammar/json_schema.h"
#include "serve/grammar/tool_grammar.h"

// The library is built with XGRAMMAR_LOG_CUSTOMIZE, so that it writes nowhere and errors are ours.
namespace xgrammar {

// NOLINTBEGIN(readability-identifier-naming): the library's names
[[noreturn]] void LogFatalImpl(const std::string& file, int line, const std::string& message);
void LogMessageImpl(const std::string& file, int line, int level, const std::string& message);

void LogFatalImpl(const std::string& /*file*/, int /*line*/, const std::string& message) {
  throw hypenet::Error(message);
}
void LogMessageImpl(const std::string& /*file*/, int /*line*/, int /*level*/,
                    const std::string& /*message*/) {}
// NOLINTEND(readability-identifier-naming)

}  // namespace xgrammar

namespace hypenet {

/// Where `calls` is set the answer is free until a call of this form begins.
struct Grammar {
  explicit Grammar(xgrammar::CompiledGrammar grammar) : compiled(std::move(grammar)) {}
  xgrammar::CompiledGrammar compiled;
  std::optional<ToolCallForm> calls;
  bool repeats = false;
};

namespace {

xgrammar::TokenizerInfo describe(const Tokenizer& tokenizer, int64_t vocab_size) {
  HYPENET_CHECK(vocab_size >= tokenizer.vocab_size(), "grammar: expected logits of at least the ",
                "tokenizer's ", tokenizer.vocab_size(), " tokens, found ", vocab_size);
  std::vector<std::string> tokens;  // "": never allowed
  for (int64_t id = 0; id < tokenizer.vocab_size(); ++id) {
    const auto token = static_cast<int32_t>(id);
    tokens.emplace_back(tokenizer.is_special(token) ? "" : tokenizer.token_bytes(token));
  }
  return {tokens, xgrammar::VocabType::RAW, static_cast<int>(vocab_size), std::vector<int32_t>{}};
}

void set_bit(std::span<int32_t> words, int32_t id, bool value) {
  const auto word = static_cast<size_t>(id) / 32;
  if (id < 0 || word >= words.size()) return;
  const auto bit = int32_t(1U << (static_cast<uint32_t>(id) % 32));
  words[word] = value ? words[word] | bit : words[word] & ~bit;
}

class GrammarMask final : public TokenMask {
 public:
  GrammarMask(GrammarPtr grammar, const Tokenizer& tokenizer, MaskOptions options)
      : grammar_(std::move(grammar)), tokenizer_(tokenizer), options_(std::move(options)) {
    if (options_.reasoning == MaskOptions::Reasoning::kIsOpen) {
      state_ = State::kThought;
      return;
    }
    begin();
    may_open_ = options_.reasoning == MaskOptions::Reasoning::kMayOpen;
  }

  void accept(int32_t id) override {
    const std::string_view text = tokenizer_.token_bytes(id);
    const bool opens = std::exchange(may_open_, false) && text == options_.opening;
    const bool breaks = std::exchange(may_break_, false) && is_line_break(text);
    if (opens) {
      state_ = State::kThought;
      text_.clear();
    } else if (state_ == State::kThought) {
      think(text);
    } else if (state_ == State::kFree) {
      look_for_call(text);
    } else if (state_ == State::kHeld && !breaks) {
      matcher_->AcceptToken(id);
      end_call();
    }
  }

  bool fill(std::span<int32_t> words) override {
    if (state_ == State::kThought || state_ == State::kFree) return false;
    std::fill(words.begin(), words.end(), state_ == State::kHeld ? -1 : 0);
    if (state_ == State::kHeld) fill_held(words);
    const bool may_end = state_ == State::kDone || matcher_->IsCompleted();
    for (const int32_t id : options_.stop_ids) set_bit(words, id, may_end);
    return true;
  }

 private:
  enum class State {
    kThought,  // until `closing`
    kFree,     // until a call begins
    kHeld,     // by the matcher
    kDone      // only the end may come
  };

  static bool is_line_break(std::string_view text) {
    return !text.empty() && text.find_first_not_of('\n') == text.npos;
  }

  void begin() {
    text_.clear();
    has_text_ = false;
    state_ = grammar_->calls ? State::kFree : State::kHeld;
    matcher_.emplace(grammar_->compiled);
  }

  void fill_held(std::span<int32_t> words) {
    int64_t size = (grammar_->compiled.GetTokenizerInfo().GetVocabSize() + 31) / 32;
    HYPENET_CHECK(size <= static_cast<int64_t>(words.size()), "grammar: expected room for ", size,
                  " words of a mask, found ", words.size());
    DLTensor tensor{};
    tensor.data = words.data();
    tensor.device = {kDLCPU, 0};
    tensor.ndim = 1;
    tensor.dtype = {kDLInt, 32, 1};
    tensor.shape = &size;
    matcher_->FillNextTokenBitmask(&tensor);
    if (may_open_) {
      if (const auto id = tokenizer_.token_id(options_.opening)) set_bit(words, *id, true);
    }
    for (const char* const token :
         {"Ċ", "ĊĊ"}) {  // one line break, two, as byte-level BPE has them
      const auto id = may_break_ ? tokenizer_.token_id(token) : std::nullopt;
      if (id) set_bit(words, *id, true);
    }
  }

  void think(std::string_view token) {
    text_ += token;
    const size_t at = text_.find(options_.closing);
    if (at == text_.npos) {
      keep_end(options_.closing.size());
      return;
    }
    // Behind it in the same token there may be line breaks. Anything else has come already, and
    // the grammar begins behind it.
    begin();
    may_break_ = true;
  }

  /// Forgets what cannot be the beginning of a marker any more.
  void keep_end(size_t marker) {
    if (text_.size() >= marker) text_.erase(0, text_.size() - marker + 1);
  }

  void look_for_call(std::string_view token) {
    const ToolCallForm& form = *grammar_->calls;
    if (form.opening.empty()) {
      look_for_first_words(token, form);
      return;
    }
    text_ += token;
    const size_t at = text_.find(form.opening);
    if (at == text_.npos) {
      keep_end(form.opening.size());
    } else {
      hold(text_.substr(at + form.opening.size()));
    }
  }

  /// Calls without an opening are the whole answer.
  void look_for_first_words(std::string_view token, const ToolCallForm& form) {
    constexpr std::string_view kFirstWords = R"({"name")";
    if (has_text_) return;
    if (text_.empty() && !form.tag.empty() && token == form.tag) {
      state_ = State::kHeld;
      return;
    }
    text_ += token;
    if (text_.starts_with(kFirstWords)) {
      hold(text_);
    } else {
      has_text_ = !kFirstWords.starts_with(text_);
    }
  }

  /// The grammar holds from here on, `begun` being what came of it already. If that is no call, it
  /// stays text.
  void hold(const std::string& begun) {
    matcher_.emplace(grammar_->compiled);
    if (begun.empty() || matcher_->AcceptString(begun)) {
      state_ = State::kHeld;
      end_call();
    } else {
      text_ = begun;
      has_text_ = true;
    }
  }

  void end_call() {
    const bool has_end = grammar_->calls && !grammar_->calls->closing.empty();
    if (!has_end || !matcher_->IsCompleted()) return;
    state_ = grammar_->repeats ? State::kFree : State::kDone;
    text_.clear();
  }

  GrammarPtr grammar_;
  const Tokenizer& tokenizer_;
  MaskOptions options_;
  State state_ = State::kHeld;
  std::optional<xgrammar::GrammarMatcher> matcher_;
  std::string text_;        // since the thought or the free part began, as far as a marker needs it
  bool has_text_ = false;   // so the answer is no call that has no opening
  bool may_open_ = false;   // the answer's first token may be `opening`
  bool may_break_ = false;  // the thought has just been closed
};

}  // namespace

struct GrammarCompiler::Impl {
  using Compiled = xgrammar::CompiledGrammar;

  Impl(const Tokenizer& tokenizer_, int64_t vocab_size)
      : tokenizer(tokenizer_),
        // One thread: others' requests and steps need the rest. Its cache has no limit in number.
        compiler(describe(tokenizer_, vocab_size), 1, false) {}

  /// Two threads that ask for the same at once both compile it.
  Compiled compile(const std::string& ebnf) {
    if (std::optional<Compiled> known = find(ebnf)) return *known;
    Compiled compiled = compiler.CompileGrammar(ebnf);
    const std::lock_guard lock(mutex);
    ++compiled_count;
    kept.emplace_front(ebnf, compiled);
    if (static_cast<int64_t>(kept.size()) > kKeptGrammars) kept.pop_back();
    return compiled;
  }

  std::optional<Compiled> find(const std::string& ebnf) {
    const std::lock_guard lock(mutex);
    const auto found = std::find_if(kept.begin(), kept.end(),
                                    [&](const auto& entry) { return entry.first == ebnf; });
    if (found == kept.end()) return std::nullopt;
    kept.splice(kept.begin(), kept, found);
    return kept.front().second;
  }

  const Tokenizer& tokenizer;
  xgrammar::GrammarCompiler compiler;
  std::mutex mutex;
  int64_t compiled_count = 0;
  std::list<std::pair<std::string, Compiled>> kept;  // the last used first
};

namespace {

/// What `compile` throws as an error of the request.
template <class Compile>
auto as_request(Compile compile) {
  try {
    return compile();
  } catch (const Error& error) {
    throw ConstraintError(ConstraintError::Code::kInvalidSchema, error.what());
  }
}

}  // namespace

GrammarCompiler::GrammarCompiler(const Tokenizer& tokenizer, int64_t vocab_size)
    : impl_(std::make_unique<Impl>(tokenizer, vocab_size)) {}
GrammarCompiler::~GrammarCompiler() = default;

bool GrammarCompiler::is_built_in() { return true; }

int64_t GrammarCompiler::compiled() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->compiled_count;
}

GrammarPtr GrammarCompiler::compile_json_object() {
  return std::make_shared<Grammar>(impl_->compile(EbnfRules().text("object")));
}

GrammarPtr GrammarCompiler::compile_schema(const Json& schema, bool strict,
                                           std::vector<std::string>& ignored) {
  return as_request([&] {
    EbnfRules rules;
    const std::string value = add_schema(schema, strict, "schema", rules, ignored);
    return std::make_shared<Grammar>(impl_->compile(rules.text(value)));
  });
}

GrammarPtr GrammarCompiler::compile_tool_calls(std::span<const ToolGrammar> tools,
                                               const ToolCallForm& form, ToolCallRule rule,
                                               std::vector<std::string>& ignored) {
  return as_request([&] {
    EbnfRules rules;
    const std::string calls = add_tool_calls(tools, form, rule, rules, ignored);
    auto grammar = std::make_shared<Grammar>(impl_->compile(rules.text(calls)));
    if (!rule.required) grammar->calls = form;
    grammar->repeats = rule.repeats;
    return grammar;
  });
}

std::unique_ptr<TokenMask> GrammarCompiler::mask(GrammarPtr grammar, MaskOptions options) const {
  return std::make_unique<GrammarMask>(std::move(grammar), impl_->tokenizer, std::move(options));
}

}  // namespace hypenet
