// The needle grid of one model, or of two side by side.
#include <unistd.h>

#include <algorithm>
#include <iostream>

#include "cli/eval.h"
#include "cli/length_warning.h"

namespace hypenet {
namespace {

NeedleGrid run_one(const NeedlePrompts& prompts, const std::string& name, MeasuredModel& model) {
  return run_needle_grid(prompts, name, [&](std::span<const EvalRequest> requests) {
    return model.answer(addresses_of(requests), concat("answers of ", name));
  });
}

}  // namespace

NeedlePrompts load_needle_grid(const EvalCommand& command, const OpenFolder& folder,
                               const std::vector<int32_t>& text) {
  NeedleGridOptions options;
  options.haystack = parse_needle_haystack(command.needle);
  options.contexts = grid_contexts(command);
  options.depths = command.depths;
  if (command.samples) options.samples = *command.samples;
  if (command.seed) options.seed = static_cast<uint64_t>(*command.seed);
  options.data = command.data;
  options.tokenizer = &folder.tokenizer;
  options.prose = text;
  options.facts = command.needles;
  check_reads("--contexts", options.contexts, command);
  if (command.compare_with) {
    warn_of_length(concat("--contexts, ", command.compare_with->string()),
                   std::ranges::max(options.contexts), OpenFolder(*command.compare_with).config);
  }
  return make_needle_prompts(options);
}

std::vector<NeedleGrid> run_needle_grids(const EvalCommand& command, const NeedlePrompts& prompts,
                                         std::unique_ptr<MeasuredModel> model) {
  const std::string name = model_name(command.measure.model.folder);
  std::vector<NeedleGrid> grids = {run_one(prompts, name, *model)};
  model.reset();  // its memory is the next one's
  if (command.compare_with) {
    MeasureOptions measure = command.measure;
    measure.model.folder = *command.compare_with;
    measure.model.attn_logits_scaling.reset();  // --attn-logits-scaling is the first model's
    if (!measure.journal.empty()) measure.journal += ".compared";
    const OpenFolder folder(measure.model.folder);
    MeasuredModel other(measure, folder.checkpoint, folder.tokenizer);
    grids.push_back(run_one(prompts, model_name(measure.model.folder), other));
  }
  for (const NeedleGrid& grid : grids) {
    std::cout << grid.name << '\n' << format_heat_map(grid, ::isatty(STDOUT_FILENO) == 1) << '\n';
  }
  return grids;
}

}  // namespace hypenet
