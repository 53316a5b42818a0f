// How large a RULER prompt is made, by the rule of RULER's own scripts or by the harness's
// (docs/evaluation.md, --ruler-rule).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "eval/task.h"
#include "text/tokenizer.h"

namespace hypenet {

/// One drawn prompt: what the model reads is lead + body + prefix.
struct RulerSample {
  std::string lead = {};    // a solved example, or nothing
  std::string body = {};    // task, context and question
  std::string prefix = {};  // how the answer begins, with the space before it
  std::vector<std::string> references = {};

  std::string prompt() const { return lead + body + prefix; }
};

/// What the five subjects have in common. A size counts lines, words or documents; draws of all
/// sizes come from one random stream, so that each changes those after it.
struct RulerSubject {
  int64_t samples = INT64_MAX;  // there are no more
  int64_t answer_tokens = 0;    // tokens of an answer at most
  int64_t step = 0;             // a size that does not fit is lowered by this much
  int64_t most = 0;             // the harness's rule: no size is above it; 0: there is no such size
  bool is_most_tried = false;   // a size above `most` is tried before `most` is taken
  int64_t first_size = 0;       // RULER's rule: of the draw that bounds the search
  int64_t growth = 3;           // and the bound is so many times what seems to fit,
  bool grows_whole = false;     // rounded down before, not after

  int64_t lead_tokens = 0;  // of a lead that the search counts and does not draw

  /// A prompt of a size; nullopt when the size cannot hold what is asked. `index`: of the sample.
  std::function<std::optional<RulerSample>(int64_t index, int64_t size)> draw = {};
  /// What the search for the size draws, where that is not draw(0, size).
  std::function<std::optional<RulerSample>(int64_t size)> trial = {};
  /// Tokens that are counted beside an answer's, in the search and then of each sample; RULER's
  /// rule counts the prompt, unless given.
  std::function<int64_t(const RulerSample&)> tokens_in_search = {}, tokens_of_sample = {};
  /// Completes a sample that fits.
  std::function<void(RulerSample&)> finish = {};
};

/// `count` samples of at most `length` tokens, answer included. Throws Error, with `name` before
/// it, when no size fits.
std::vector<RulerSample> draw_samples(const RulerSubject& subject, int64_t length, int64_t count,
                                      const TaskOptions& options, const std::string& name);

int64_t count_tokens(const Tokenizer& tokenizer, const std::string& text);

}  // namespace hypenet
