// The solved examples that stand before a question, chosen as lm-evaluation-harness 0.4.9.1 does.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "eval/python/python_random.h"

namespace hypenet {

/// Which examples a document gets. kOneMore: one more is drawn than asked for, and left out if it
/// is not the document itself; the harness does so for tasks that name neither a test split nor one
/// for examples.
enum class ExampleDraw { kRandom, kOneMore, kFirst };

class FewShotExamples {
 public:
  /// Takes `shots` of `examples` (text, delimiter and answer each) for every document. Throws Error
  /// with `task` when there are too few.
  FewShotExamples(std::vector<std::string> examples, int64_t shots, ExampleDraw draw,
                  std::string_view task);

  /// The examples before the next document, each with two line feeds after it; `own` is the
  /// document written as an example, which is left out.
  std::string next(std::string_view own);

 private:
  std::vector<int64_t> draw_places();

  std::vector<std::string> examples_;
  int64_t shots_;
  ExampleDraw draw_;
  PythonRandom random_;
};

}  // namespace hypenet
