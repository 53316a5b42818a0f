// The wordings of recall rows. None is RULER's, whose questions are kept for the evaluation.
#pragma once

#include <array>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/synthetic/needle.h"
#include "text/tokenizer.h"

namespace hypenet {

/// What the facts of a row are about: each is the `thing` of an owner who is named by a key. In
/// wordings {key} and {value} stand for a fact's own, {owner} for `owner`, {the} for "the THING of
/// OWNER" ({The} at the beginning of a sentence).
struct RecallFrame {
  std::string_view thing, things;  // "access code", "access codes"
  std::string_view owner;          // "building {key}"
  double word_share = 0;           // of the values that are words and not numbers
  std::array<std::string_view, 4> facts;
  std::array<std::string_view, 3> questions;  // with their answers
};

std::span<const RecallFrame> recall_frames();

/// Questions of any frame, with their answers.
std::span<const std::string_view> recall_questions();

/// For the beginning of a row; {things} are those of the frame.
std::span<const std::string_view> recall_announcements();

/// {things} where a row has facts of several frames.
inline constexpr std::string_view kMixedThings = "names and numbers";

/// Asks for the {things} of all facts; one line a fact follows.
std::span<const std::string_view> recall_list_questions();

/// A line of the answer to that.
inline constexpr std::string_view kRecallListLine = "- {owner}: {value}\n";

/// A fact that a wording is filled with.
struct RecallFact {
  const RecallFrame* frame = nullptr;
  std::string key, value;
};

/// A piece of a row; answers are the values in it, as token spans.
struct RecallPiece {
  std::vector<int32_t> ids;
  std::vector<AnswerSpan> answers;
};

/// The wording filled with the fact, in tokens. Where a token holds more than the value (a space
/// before a word), it belongs to the answer. Throws Error when the tokens do not spell the text.
RecallPiece fill(std::string_view wording, const RecallFact& fact, const Tokenizer& tokenizer);

}  // namespace hypenet
