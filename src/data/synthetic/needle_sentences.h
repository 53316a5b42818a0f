// The sentences of the recall task as text, for prompts that are put together from words.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "data/synthetic/needle.h"
#include "text/tokenizer.h"

namespace hypenet {

/// " The magic number for KEY is 4821."
std::string needle_sentence(std::string_view key, std::string_view answer);

/// " Question: the magic number for KEY is ", which four digits answer.
std::string needle_question(std::string_view key);

/// The nouns that rows of this kind take their keys from: those of few tokens.
std::vector<std::string> needle_key_nouns(const Tokenizer& tokenizer, NeedleKeys keys);

/// Throws Error when the tokenizer does not give each digit of an answer a token of its own.
void check_digit_tokens(const Tokenizer& tokenizer);

}  // namespace hypenet
