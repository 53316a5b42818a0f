// The stages of a conversion as data, and what is looked at before the first of them.
#include "halo/pipeline.h"

#include <algorithm>
#include <numeric>

#include "base/files.h"
#include "base/folder_writer.h"
#include "base/join.h"
#include "halo/align.h"
#include "halo/conversion.h"
#include "halo/distill.h"
#include "halo/early_checks.h"
#include "halo/hybrid.h"
#include "halo/results.h"
#include "halo/select.h"
#include "halo/selection.h"
#include "model/length_note.h"
#include "model/weights.h"
#include "run/kept_recipe.h"
#include "run/model_identity.h"
#include "run/run_files.h"
#include "run/training.h"
#include "train/row_ranks.h"

namespace hypenet {
namespace fs = std::filesystem;
namespace {

void write_model(const Conversion& conversion, const Stage& stage, const ModelConfig& config,
                 NamedTensors tensors) {
  write_checkpoint(stage.folder, {.config = to_json(config),
                                  .tensors = std::move(tensors),
                                  .run = run_record(stage),
                                  .companions_from = conversion.teacher.folder()});
}

void transfer(const Conversion& conversion, const Stage& stage) {
  const ModelConfig config = conversion.hybrid_config({});
  write_model(conversion, stage, config,
              transfer_weights(conversion.teacher, config, conversion.transfer_options()));
  note(conversion.options, "1-transfer: every layer has a recurrent twin");
}

/// Trains the model and writes the stage's folder; the saved state has then served its turn.
void train_and_write(const Conversion& conversion, const StageTraining& training,
                     const std::shared_ptr<const TokenDataset>& text, Objective& objective) {
  const Stage& stage = training.stage;
  CausalLm model = training.model;
  train_stage(training, text, conversion.tokenizer, objective, conversion.options);
  if (!conversion.options.is_first_rank()) return;
  write_model(conversion, stage, model->config(), named_weights(*model, torch::kFloat32));
  remove_state(stage);
}

void align(const Conversion& conversion, const Stage& stage) {
  const StageConfig& config = conversion.recipe.align;
  const torch::Device device = conversion.options.device;
  CausalLm teacher =
      load_frozen(conversion.teacher, config, device, conversion.options.communicator);
  CausalLm twins =
      load_trained(Checkpoint(conversion.folder(ConversionStep::kTransfer)), config, device);
  teacher->split_rows(new_row_parts(config, *conversion.options.communicator));
  AlignObjective objective(teacher, twins);
  train_and_write(conversion,
                  {stage, config, twins, conversion.seed(SeedOf::kAlign),
                   conversion.options.communicator, ShardedWeights::Gathered::kTrained},
                  conversion.corpus.train, objective);
}

/// Sweep and rule; or the layers that the recipe gives by hand.
void select(const Conversion& conversion, const Stage& stage) {
  const auto layers = select_attention(conversion, stage);
  note(conversion.options, concat("3-select: attention stays in layers ", Json(layers).dump()));
}

void build_hybrid(const Conversion& conversion, const Stage& stage) {
  const auto layers = read_selection(conversion.folder(ConversionStep::kSelect));
  const Checkpoint aligned(conversion.folder(ConversionStep::kAlign));
  write_model(conversion, stage, conversion.hybrid_config(layers),
              hybrid_weights(conversion.teacher, aligned, layers, conversion.transfer_options()));
  note(conversion.options, "4-hybrid: the selected layers are the teacher's, the others twins");
}

/// Stages 2 and 3: the whole student learns from the teacher or from the text.
struct StudentStage {
  const StageConfig& config;
  StudentObjective minimised;
  ConversionStep from;
  SeedOf seed;
  std::shared_ptr<const TokenDataset> text;

  bool has_teacher() const { return minimised != StudentObjective::kCrossEntropy; }
};

void train_student(const Conversion& conversion, const Stage& stage, const StudentStage& about) {
  const torch::Device device = conversion.options.device;
  CausalLm student = load_trained(Checkpoint(conversion.folder(about.from)), about.config, device);
  const RowPartsPointer row = new_row_parts(about.config, *conversion.options.communicator);
  student->split_rows(row);
  CausalLm teacher{nullptr};
  if (about.has_teacher()) {
    teacher =
        load_frozen(conversion.teacher, about.config, device, conversion.options.communicator);
    teacher->split_rows(row);
    if (const auto longer =
            length_note(concat(stage.name, ": teacher"), about.config.context, teacher->config())) {
      note(conversion.options, *longer + "; what lies behind those is learnt from the text");
    }
  }
  const auto objective = new_objective(about.minimised, teacher, student, row);
  train_and_write(
      conversion,
      {stage, about.config, student, conversion.seed(about.seed), conversion.options.communicator},
      about.text, *objective);
}

/// The stage that ends the training.
ConversionStep last_trained(const HaloRecipe& recipe) {
  return recipe.extend ? ConversionStep::kExtend : ConversionStep::kFinetune;
}

/// The finished model: logits scaling set, weights in the type they ship in.
void finish(const Conversion& conversion, const Stage& stage) {
  CausalLm model = load_model(Checkpoint(conversion.folder(last_trained(conversion.recipe))),
                              torch::kFloat32, conversion.options.device);
  ModelConfig config = model->config();
  config.attn_logits_scaling =
      parse_logits_scaling(conversion.recipe.attn_logits_scaling, "attn_logits_scaling");
  config.torch_dtype = "bfloat16";
  write_model(conversion, stage, config, named_weights(*model, torch::kBFloat16));
  note(conversion.options, "model: written, in bfloat16");
}

/// What else than the same command a user can do about a step of other settings.
std::string way_out(const fs::path& out, ConversionStep step) {
  return concat("make it anew with --from ", about_step(step).name, ", which removes ",
                join(made_from(out, step), ", "));
}

/// Runs older than these keys have neither, and the default's mixer in every layer.
void add_mixers(Json& settings, const std::vector<std::string>& mixers) {
  if (std::ranges::count(mixers, mixers.front()) < std::ssize(mixers)) {
    settings["mixers"] = mixers;
  } else if (mixers.front() != twin_rules()[0]->mixer->name) {
    settings["mixer"] = mixers.front();
  }
}

/// What tells the teacher from another one at its path.
Json identity_of(const Conversion& conversion) {
  return {{"teacher_weights", model_identity(conversion.teacher)},
          {"tokenizer", conversion.tokenizer.fingerprint()}};
}

/// Runs older than the identity have no other.
Completed completed_with(const Json& identity) {
  return [identity](const Json& settings, const fs::path& place) {
    Json known = identity;
    known.update(completed_settings(settings, place));
    return known;
  };
}

/// Whether a conversion by this recipe makes the step.
bool has_step(const HaloRecipe& recipe, ConversionStep step) {
  return step != ConversionStep::kExtend || recipe.extend;
}

/// The trained stages that the recipe has.
std::vector<std::pair<ConversionStep, const StageConfig*>> trained_stages(
    const HaloRecipe& recipe) {
  std::vector<std::pair<ConversionStep, const StageConfig*>> stages = {
      {ConversionStep::kAlign, &recipe.align},
      {ConversionStep::kDistill, &recipe.distill},
      {ConversionStep::kFinetune, &recipe.finetune}};
  if (recipe.extend) stages.emplace_back(ConversionStep::kExtend, &*recipe.extend);
  return stages;
}

/// The others are the first rank's alone.
bool all_ranks_make(ConversionStep step) {
  using enum ConversionStep;
  return step == kAlign || step == kSelect || step == kDistill || step == kFinetune ||
         step == kExtend;
}

/// The stages in the order of conversion_steps. The settings of each are those of the stages before
/// it, and its own.
std::vector<Stage> stages_of(const Conversion& conversion) {
  const auto& [recipe, options, teacher, teacher_config, tokenizer, corpus] = conversion;
  const Json identity = identity_of(conversion);
  Json settings = {{"teacher", recipe.teacher},
                   {"seed", recipe.seed},
                   {"gate_std", recipe.gate_std},
                   {"training_tokens", corpus.train->tokens()}};
  settings.update(identity);
  add_mixers(settings, conversion.mixers());
  std::vector<Stage> stages;
  using Make = std::function<void(const Conversion&, const Stage&)>;
  const auto add = [&](ConversionStep step, std::vector<fs::path> parents, const Make& make) {
    stages.push_back({.name = std::string(about_step(step).folder),
                      .folder = conversion.folder(step),
                      .settings = settings,
                      .parents = std::move(parents),
                      .make = [&conversion, make](const Stage& own) { make(conversion, own); },
                      .completed = completed_with(identity),
                      .or_else = way_out(conversion.options.out, step),
                      .is_shared = all_ranks_make(step)});
  };
  const auto add_student = [&](ConversionStep step, const StudentStage& about) {
    std::vector<fs::path> parents = {conversion.folder(about.from)};
    if (about.has_teacher()) parents.push_back(conversion.teacher.folder());
    add(step, parents,
        [about](const Conversion& shared, const Stage& own) { train_student(shared, own, about); });
  };
  using enum ConversionStep;
  const fs::path transferred = conversion.folder(kTransfer), aligned = conversion.folder(kAlign);
  add(kTransfer, {teacher.folder()}, transfer);
  settings["align"] = write_fields(recipe.align);
  add(kAlign, {transferred, teacher.folder()}, align);
  settings["sweep"] = write_fields(recipe.sweep);
  settings["select"] = write_fields(recipe.select);
  add(kSelect, {aligned}, select);
  if (parse_selection_rule(recipe.select.rule) == SelectionRule::kPilot)
    stages.back().settings["distill"] = write_fields(recipe.distill);  // which pilots shorten
  add(kHybrid, {teacher.folder(), aligned, conversion.folder(kSelect)}, build_hybrid);
  settings["distill"] = write_fields(recipe.distill);
  add_student(kDistill,
              {recipe.distill, student_objective(recipe.distill, StudentObjective::kKl, "distill"),
               kHybrid, SeedOf::kDistill, corpus.train});
  settings["finetune"] = write_fields(recipe.finetune);
  if (corpus.long_train != corpus.train)
    settings["long_training_tokens"] = corpus.long_train->tokens();
  add_student(kFinetune,
              {recipe.finetune,
               student_objective(recipe.finetune, StudentObjective::kCrossEntropy, "finetune"),
               kDistill, SeedOf::kFinetune, corpus.long_train});
  if (recipe.extend) {
    settings["extend"] = write_fields(*recipe.extend);
    add_student(kExtend,
                {*recipe.extend,
                 student_objective(*recipe.extend, StudentObjective::kCrossEntropy, "extend"),
                 kFinetune, SeedOf::kExtend, corpus.long_train});
  }
  settings["attn_logits_scaling"] = recipe.attn_logits_scaling;
  add(kModel, {conversion.folder(last_trained(recipe))}, finish);
  return stages;
}

/// Names of the parameters that a model of this config has, from one that is next to nothing wide.
std::vector<std::string> parameter_names(ModelConfig config) {
  config.vocab_size = config.hidden_size = config.intermediate_size = 1;
  return CausalLm(config, false)->named_parameters().keys();
}

/// Parameters that a stage names must be there, even if the stage comes hours later.
void check_named_parts(const Conversion& conversion) {
  const HaloRecipe& recipe = conversion.recipe;
  std::vector<int64_t> all(static_cast<size_t>(conversion.teacher_config.num_hidden_layers));
  std::iota(all.begin(), all.end(), int64_t{0});
  const auto twins = parameter_names(conversion.hybrid_config({}));
  auto mixers = twins;  // what align trains
  std::erase_if(mixers, [](const auto& name) { return name.find(".self_attn.") == name.npos; });
  // Which layers of the hybrid are which may not be known yet: then it has names of both.
  const auto& layers = recipe.select.layers;
  auto hybrid = parameter_names(conversion.hybrid_config(layers.value_or(all)));
  if (!layers) hybrid.insert(hybrid.end(), twins.begin(), twins.end());
  for (const auto& [step, stage] : trained_stages(recipe)) {
    check_parts(*stage, step == ConversionStep::kAlign ? mixers : hybrid,
                concat(recipe.name, ": ", about_step(step).name));
  }
}

bool is_to_make(const Conversion& conversion, const ConversionPlan& plan, ConversionStep step) {
  return (plan.from && *plan.from <= step) || !fs::exists(conversion.folder(step) / "run.json");
}

/// What the ranks of this run cannot do together in the stages that it is to make.
void check_ranks(const Conversion& conversion, const ConversionPlan& plan) {
  const auto& [recipe, options, teacher, config, tokenizer, corpus] = conversion;
  std::vector<const MixerKind*> mixers = conversion.hybrid_config({}).mixer_types;
  mixers.insert(mixers.end(), config.mixer_types.begin(), config.mixer_types.end());
  const Ranks ranks = options.communicator->ranks();
  for (const auto& [step, stage] : trained_stages(recipe)) {
    if (is_to_make(conversion, plan, step))
      check_row_ranks(*stage, ranks, mixers, std::string(about_step(step).name));
  }
}

/// What recipe, teacher and device cannot do together.
void check_recipe(const Conversion& conversion, const ConversionPlan& plan) {
  const auto& [recipe, options, teacher, config, tokenizer, corpus] = conversion;
  check_vocabulary(tokenizer, config, recipe.teacher);
  conversion.hybrid_config({});
  check_tensors(teacher, config);
  for (const auto& [step, stage] : trained_stages(recipe))
    check_stage_rows(*stage, tokenizer, options.device, std::string(about_step(step).name));
  check_ranks(conversion, plan);
  if (is_to_make(conversion, plan, ConversionStep::kSelect))
    check_selection(recipe, config, tokenizer);
  check_named_parts(conversion);
  check_recall(recipe, tokenizer);
  check_text_files(recipe.data, tokenizer, options.out);
}

/// Nothing stands where a step will write but what a conversion wrote.
void check_folders(const Conversion& conversion, const ConversionPlan& plan) {
  for (const StepAbout& about : conversion_steps()) {
    if (has_step(conversion.recipe, about.step) && is_to_make(conversion, plan, about.step))
      check_folder(conversion.folder(about.step), step_folder_kind(about.step));
  }
  if (!plan.from) return;
  const fs::path& out = conversion.options.out;
  check_removable(out, *plan.from);
  HYPENET_CHECK(!made_from(out, *plan.from).empty(), "--from ", about_step(*plan.from).name,
                ": expected something to make anew, found nothing of this step or later ones in ",
                out.string(), ": leave --from out");
}

void prepare_texts(Conversion& conversion) {
  const HaloRecipe& recipe = conversion.recipe;
  conversion.corpus =
      prepare_corpus(recipe.data, conversion.tokenizer, conversion.options,
                     [&](const std::vector<int32_t>& held_out) {
                       check_held_out(recipe, conversion.tokenizer, held_out, conversion.options);
                     });
  for (const auto& [step, stage] : trained_stages(recipe)) {
    const auto& text =
        step < ConversionStep::kFinetune ? conversion.corpus.train : conversion.corpus.long_train;
    check_stage_text(*stage, *text, std::string(about_step(step).name));
  }
}

void remove_made_before(const Conversion& conversion, ConversionStep from) {
  const fs::path& out = conversion.options.out;
  note(conversion.options,
       concat("--from ", about_step(from).name, ": removing ", join(made_from(out, from), ", ")));
  remove_from(out, from);
}

/// The stages before `step` and `more`, or all of them.
std::span<const Stage> up_to(const HaloRecipe& recipe, const std::optional<ConversionStep>& step,
                             size_t more, std::span<const Stage> stages) {
  if (!step) return stages;
  const auto before = std::ranges::count_if(conversion_steps(), [&](const StepAbout& about) {
    return about.step < *step && has_step(recipe, about.step);
  });
  return stages.first(static_cast<size_t>(before) + more);
}

/// Everything before the first stage: the texts, and a look at what was made before.
std::vector<Stage> prepare(Conversion& conversion, const ConversionPlan& plan) {
  const RunOptions& options = conversion.options;
  if (options.is_first_rank()) check_folders(conversion, plan);
  const auto keep = [&] { keep_recipe(options.out, "convert", write_fields(conversion.recipe)); };
  // Before the text is tokenized, which may take hours; else once it fits what is there.
  if (!fs::exists(options.out / "tokens")) keep();
  prepare_texts(conversion);
  const std::vector<Stage> stages = stages_of(conversion);
  check_made_before(up_to(conversion.recipe, plan.from, 0, stages));
  if (plan.from && options.is_first_rank()) remove_made_before(conversion, *plan.from);
  keep();
  return stages;
}

ConversionResult evaluate_and_report(const Conversion& conversion, const Stage& finished) {
  const auto& [recipe, options, teacher, config, tokenizer, corpus] = conversion;
  Json settings = finished.settings;
  settings["evaluate"] = write_fields(recipe.evaluate);
  const fs::path path = options.out / "results.json";
  ConversionRecord record;
  const bool is_first = options.is_first_rank();
  const bool is_known = is_first && has_results_of(path, settings, finished.completed);
  if (options.communicator->any(is_known)) {
    if (!is_first) return {};
    read_fields(read_json(path), path.string(), record);
  } else {
    const EvaluationInputs inputs{recipe.evaluate, tokenizer, corpus.held_out,
                                  conversion.seed(SeedOf::kEvaluate)};
    const auto layers = read_selection(conversion.folder(ConversionStep::kSelect));
    record = {settings, layers, conversion.hybrid_config(layers).mixer_types,
              evaluate(teacher.folder(), "teacher", inputs, options),
              evaluate(finished.folder, "HypeNet", inputs, options)};
    if (!is_first) return {};
    write_json(path, write_fields(record));
  }
  const fs::path report = options.out / "report.html";
  write_report(report, conversion_report(recipe, record, options.out));
  return {finished.folder, report, conversion_table(record)};
}

/// By the options' names, for ranks to compare.
Json described(const ConversionPlan& plan) {
  const auto name = [](const std::optional<ConversionStep>& step) {
    return step ? Json(about_step(*step).name) : Json();
  };
  return {{"--from", name(plan.from)}, {"--until", name(plan.until)}};
}

}  // namespace

ConversionResult convert(const HaloRecipe& recipe, const RunOptions& options,
                         const ConversionPlan& plan) {
  for (const auto& [option, step] :
       {std::pair("--from ", plan.from), std::pair("--until ", plan.until)}) {
    HYPENET_CHECK(!step || has_step(recipe, *step), option, about_step(*step).name,
                  ": expected a step of the recipe, found one that it leaves out");
  }
  HYPENET_CHECK(!plan.from || !plan.until || *plan.from <= *plan.until, "--until ",
                about_step(*plan.until).name, ": expected a step that is not before --from ",
                about_step(*plan.from).name);
  Checkpoint teacher = open_rounded(recipe.teacher);
  ModelConfig config =
      read_model_config(teacher, [&](const std::string& text) { note(options, text); });
  Conversion conversion{recipe, options, std::move(teacher), std::move(config),
                        Tokenizer::load(recipe.teacher)};
  check_recipe(conversion, plan);
  options.communicator->check_same("recipe", write_fields(recipe).dump());
  options.communicator->check_same("steps", described(plan).dump());
  options.communicator->check_same("teacher", model_identity(conversion.teacher));
  check_shared_disk(options);
  FolderLock lock;
  std::vector<Stage> stages;
  in_turn(options, [&] {
    lock = prepare_out(options);
    stages = prepare(conversion, plan);
  });
  perform(up_to(recipe, plan.until, 1, stages), options);
  if (plan.until) return {conversion.folder(*plan.until), {}, {}};
  return evaluate_and_report(conversion, stages.back());
}

}  // namespace hypenet
