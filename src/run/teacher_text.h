// Text to distil from, written by the teacher itself: short beginnings of other text, continued.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>

#include "data/beginnings.h"
#include "engine/engine.h"
#include "ranks/ranks.h"
#include "run/corpus_file.h"
#include "text/tokenizer.h"

namespace hypenet {

struct TeacherTextOptions {
  int64_t min_prompt = 2, max_prompt = 32;  // tokens, drawn uniformly
  GenerateOptions answer;                   // of each document; its sampling seed is not used
  uint64_t seed = 0;
  int64_t sequences = 16;  // under way at once, at most, on each rank
};

/// The ranks that write a corpus together, and who looks on.
struct TeacherTextJob {
  Communicator& ranks;
  CorpusFile* corpus;             // of the first rank; null on the others
  const std::atomic<bool>& stop;  // where it is set on one rank, all stop
  /// Gets the number of tokens known so far, of all ranks, after each step of the engine.
  std::function<void(int64_t tokens)> report;
};

/// Throws Error naming the flag for settings that make no sense.
void check_teacher_text(const TeacherTextOptions& options);

/// The prompt of document `id`: the first tokens of a beginning. Document, beginning and number of
/// tokens are functions of options.seed and id alone.
std::vector<int32_t> draw_prompt(const Beginnings& beginnings, const Tokenizer& tokenizer,
                                 const TeacherTextOptions& options, int64_t id);

/// The seed that document `id` is sampled with.
uint64_t sampling_seed(const TeacherTextOptions& options, int64_t id);

/// Adds documents to the corpus, in the order of their numbers, until it is full. Which ones does
/// not depend on how many run side by side, nor on how many ranks. All ranks call it, and share the
/// documents. Throws Interrupted when stopped: nothing stays queued then. Throws Error for logits
/// that are not finite and as Engine::submit does.
void write_teacher_text(Engine& engine, const Tokenizer& tokenizer, const Beginnings& beginnings,
                        const TeacherTextOptions& options, const TeacherTextJob& job);

}  // namespace hypenet
