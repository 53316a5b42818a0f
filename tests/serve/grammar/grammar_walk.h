// A small vocabulary, and answers drawn at random from what a mask lets come.
#pragma once

#include <gtest/gtest.h>

#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "serve/grammar/constraint.h"

namespace hypenet {

/// Qwen3's rules and special tokens over its first 6,000 merges; logits have a few columns more
/// than there are tokens, as models' have.
class GrammarWalk : public testing::Test {
 protected:
  void SetUp() override {
    if (!GrammarCompiler::is_built_in()) GTEST_SKIP() << "built without xgrammar";
  }

  static const Tokenizer& tokenizer() {
    static const Tokenizer loaded =
        Tokenizer::load(std::string(HYPENET_TEST_DATA) + "/tokenizer/qwen3-cut");
    return loaded;
  }
  static int64_t columns() { return tokenizer().vocab_size() + 37; }
  static GrammarCompiler& compiler() {
    static GrammarCompiler made(tokenizer(), columns());
    return made;
  }
  static int32_t stop_id() { return *tokenizer().token_id("<|im_end|>"); }

  static GrammarPtr schema(const std::string& text, bool strict = false) {
    std::vector<std::string> ignored;
    return compiler().compile_schema(parse_json(text, "test"), strict, ignored);
  }

  static std::unique_ptr<TokenMask> mask(
      const GrammarPtr& grammar, MaskOptions::Reasoning reasoning = MaskOptions::Reasoning::kNone) {
    return compiler().mask(grammar, {.stop_ids = {stop_id()}, .reasoning = reasoning});
  }

  /// What may come; nullopt: everything.
  static std::optional<std::vector<bool>> allowed(TokenMask& mask) {
    std::vector<int32_t> words(static_cast<size_t>((columns() + 31) / 32), 0x5A5A5A5A);
    if (!mask.fill(words)) return std::nullopt;
    std::vector<bool> bits(static_cast<size_t>(columns()));
    for (size_t id = 0; id < bits.size(); ++id) {
      bits[id] = (static_cast<uint32_t>(words[id / 32]) >> (id % 32) & 1U) != 0;
    }
    return bits;
  }

  static bool may_end(TokenMask& mask) {
    const auto bits = allowed(mask);
    return !bits || (*bits)[static_cast<size_t>(stop_id())];
  }

  /// Takes a text as the tokenizer cuts it, while it may come; returns what of it came.
  static std::string take(TokenMask& mask, const std::string& text) {
    std::string taken;
    for (const int32_t id : tokenizer().encode(text)) {
      const auto bits = allowed(mask);
      if (bits && !(*bits)[static_cast<size_t>(id)]) break;
      mask.accept(id);
      taken += tokenizer().token_bytes(id);
    }
    return taken;
  }

  /// Draws tokens until the answer ends; nullopt where it has not after `steps`. Tokens that close
  /// something are likelier, so that most answers end.
  static std::optional<std::string> walk(TokenMask& mask, uint64_t seed, int steps = 600) {
    std::mt19937_64 random(seed);
    std::string text;
    for (int step = 0; step < steps; ++step) {
      const auto bits = allowed(mask);
      if (!bits) return text;
      std::vector<int32_t> ids, closing;
      for (int32_t id = 0; id < columns(); ++id) {
        if (!(*bits)[static_cast<size_t>(id)]) continue;
        if (id != stop_id()) {
          EXPECT_FALSE(tokenizer().is_special(id)) << tokenizer().token_bytes(id);
          EXPECT_LT(id, tokenizer().vocab_size());
        }
        ids.push_back(id);
        const std::string_view bytes = tokenizer().token_bytes(id);
        if (id == stop_id() || bytes == "\"" || bytes == "}" || bytes == "]") closing.push_back(id);
      }
      if (ids.empty()) {
        ADD_FAILURE() << "nothing may follow " << text;
        return std::nullopt;
      }
      const bool closes = !closing.empty() && random() % 4 < (step < steps / 4 ? 1 : 3);
      const std::vector<int32_t>& from = closes ? closing : ids;
      const int32_t id = from[random() % from.size()];
      if (id == stop_id()) return text;
      mask.accept(id);
      text += tokenizer().token_bytes(id);
    }
    return std::nullopt;
  }
};

}  // namespace hypenet
