// The needle grid: how often a model finds a fact at each depth of prompts of each length. The same
// prompts go to every model that is compared.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "eval/request.h"
#include "eval/task.h"
#include "text/tokenizer.h"

namespace hypenet {

/// What hides the fact: kEssays: RULER's niah_single_2; kRepeated: its niah_single_1; kFacts: prose
/// with facts of data/synthetic/needle.h, which small models of the recipes have learnt.
enum class NeedleHaystack { kEssays, kRepeated, kFacts };

/// "essays", "repeated", "facts". Throws Error for another name, with these.
NeedleHaystack parse_needle_haystack(const std::string& name);

struct NeedleGridOptions {
  NeedleHaystack haystack = NeedleHaystack::kEssays;
  std::vector<int64_t> contexts = {4096};  // tokens of a prompt and its answer together
  int64_t depths = 10;  // evenly spaced from 0 to 100 %, both included; at least 2
  int64_t samples = 5;  // prompts a cell
  uint64_t seed = 42;
  std::vector<std::filesystem::path> data = {};  // kEssays: folders, as in TaskOptions
  const Tokenizer* tokenizer = nullptr;
  std::vector<int32_t> prose = {};  // kFacts: tokens of held-out text, reused from random places
  int64_t facts = 4;                // kFacts: facts a prompt, one of which is asked for
};

/// The prompts, in the order of contexts, depths, samples; an item is one request.
struct NeedlePrompts {
  NeedleHaystack haystack = NeedleHaystack::kEssays;
  std::vector<int64_t> contexts = {};
  std::vector<double> depths = {};  // percent
  int64_t samples = 0;
  std::vector<TaskItem> items = {};

  std::vector<EvalRequest> requests() const;
};

/// Draws the prompts. Throws Error for impossible options, a missing data file (as load_tasks
/// does), and a context that is too short.
NeedlePrompts make_needle_prompts(const NeedleGridOptions& options);

/// What one model found.
struct NeedleGrid {
  std::string name = {};  // of the model, as charts show it
  std::vector<int64_t> contexts = {};
  std::vector<double> depths = {};               // percent
  std::vector<std::vector<double>> shares = {};  // [context][depth], 0 to 1
  int64_t samples = 0;
  std::string haystack = {};  // as parse_needle_haystack takes it; empty: unknown
  Json settings = nullptr;    // how it was measured, by name; null: unknown

  double mean() const;
};

/// The grid from one answer an item. A share counts answers that hold the hidden value; kFacts:
/// that are it exactly.
NeedleGrid score_needle_prompts(const NeedlePrompts& prompts, std::span<const EvalAnswer> answers,
                                std::string name);

/// Both steps: `answer` is Evaluator::answer or what stands for it.
NeedleGrid run_needle_grid(
    const NeedlePrompts& prompts, std::string name,
    const std::function<std::vector<EvalAnswer>(std::span<const EvalRequest>)>& answer);

/// The grid for a results file: {"name", "haystack", "contexts", "depths", "samples", "shares",
/// "mean"}, and "settings" where they are known.
Json needle_grid_json(const NeedleGrid& grid);

/// One panel a grid, side by side, with one colour scale and its legend, as an SVG element (also
/// valid as a file of its own). The grids must be of the same contexts, depths and samples.
std::string draw_heat_maps(std::span<const NeedleGrid> grids, const std::string& title);

/// The grid as text: a row a depth, a column a context, percent found; `has_colour` adds a
/// background of the cell's shade (24-bit ANSI colours).
std::string format_heat_map(const NeedleGrid& grid, bool has_colour);

}  // namespace hypenet
