// The steps of a conversion in order. Each asks whether its folder is there, and otherwise makes
// it.
#include "halo/pipeline.h"

#include <map>
#include <numeric>

#include "base/files.h"
#include "base/folder_writer.h"
#include "halo/align.h"
#include "halo/distill.h"
#include "halo/early_checks.h"
#include "halo/hybrid.h"
#include "halo/kept_recipe.h"
#include "halo/results.h"
#include "halo/select.h"
#include "halo/selection.h"
#include "halo/transfer.h"
#include "model/weights.h"

namespace hypenet {
namespace fs = std::filesystem;
namespace {

/// Seeds of the parts of a run that draw random numbers.
enum class SeedOf : int64_t { kGates, kAlign, kDistill, kFinetune, kSweep, kEvaluate, kPilot };
uint64_t derived_seed(int64_t seed, SeedOf part) {
  return Random(static_cast<uint64_t>(seed), {static_cast<int64_t>(part)}).next();
}

/// One conversion: the recipe, what its steps share, and a method a step.
class Conversion {
 public:
  Conversion(const HaloRecipe& recipe, const RunOptions& options, const ConversionPlan& plan)
      : recipe_(recipe),
        options_(options),
        plan_(plan),
        teacher_(recipe.teacher),
        teacher_config_(
            read_model_config(teacher_, [this](const std::string& text) { note(text); })),
        tokenizer_(Tokenizer::load(recipe.teacher)) {
    check_recipe();
    prepare_out(options_);
    check_folders();
    // Before the text is tokenized, which may take hours; else once it fits what is there.
    if (!fs::exists(options_.out / "tokens")) keep();
    corpus_ = prepare_corpus(recipe_.data, tokenizer_, options_,
                             [&](const std::vector<int32_t>& held_out) {
                               check_held_out(recipe_, tokenizer_, held_out, options_);
                             });
    check_stage_text(recipe_.align, *corpus_.train, "align");
    check_stage_text(recipe_.distill, *corpus_.train, "distill");
    check_stage_text(recipe_.finetune, *corpus_.long_train, "finetune");
    list_settings();
    check_made_before();
    if (plan_.from) remove_made_before();
    keep();
  }

  ConversionResult run() {
    for (const StepAbout& about : conversion_steps()) {
      make(about.step);
      if (plan_.until == about.step) return {folder(about.step), {}, {}};
    }
    return evaluate_and_report();
  }

 private:
  void make(ConversionStep step) {
    switch (step) {
      case ConversionStep::kTransfer:
        return transfer();
      case ConversionStep::kAlign:
        return align();
      case ConversionStep::kSelect:
        return select();
      case ConversionStep::kHybrid:
        return build_hybrid();
      case ConversionStep::kDistill:
        return distill();
      case ConversionStep::kFinetune:
        return finetune();
      case ConversionStep::kModel:
        return finish();
    }
  }

  /// What recipe, teacher and device cannot do together.
  void check_recipe() const {
    check_vocabulary(tokenizer_, teacher_config_, recipe_.teacher);
    hypenet_config(teacher_config_,
                   mixer_types(teacher_config_.num_hidden_layers, {}, recipe_.mixer));
    check_tensors(teacher_, teacher_config_);
    check_frozen_parts();
    check_stage_rows(recipe_.align, tokenizer_, options_.device, "align");
    check_stage_rows(recipe_.distill, tokenizer_, options_.device, "distill");
    check_stage_rows(recipe_.finetune, tokenizer_, options_.device, "finetune");
    if (is_to_make(ConversionStep::kSelect)) check_selection(recipe_, teacher_config_, tokenizer_);
    check_recall(recipe_, tokenizer_);
    check_text_files(recipe_.data, options_.out);
  }

  bool is_again(ConversionStep step) const { return plan_.from && *plan_.from <= step; }
  bool is_to_make(ConversionStep step) const {
    return is_again(step) || !fs::exists(folder(step) / "run.json");
  }

  /// Nothing stands where a step will write but what a conversion wrote.
  void check_folders() const {
    for (const StepAbout& about : conversion_steps()) {
      const fs::path place = folder(about.step);
      if (is_to_make(about.step)) check_folder(place, step_folder_kind(about.step));
    }
    if (!plan_.from) return;
    check_removable(options_.out, *plan_.from);
    HYPENET_CHECK(!made_from(options_.out, *plan_.from).empty(), "--from ",
                  about_step(*plan_.from).name, ": expected something to make anew, found nothing ",
                  "of this step or later ones in ", options_.out.string(), ": leave --from out");
  }

  /// The settings that lead to each step: those of the steps before it, and its own.
  void list_settings() {
    Json settings = {{"teacher", recipe_.teacher},
                     {"seed", recipe_.seed},
                     {"gate_std", recipe_.gate_std},
                     {"training_tokens", corpus_.train->tokens()}};
    if (recipe_.mixer != HaloRecipe().mixer) settings["mixer"] = recipe_.mixer;
    settings_[ConversionStep::kTransfer] = settings;
    settings["align"] = write_fields(recipe_.align);
    settings_[ConversionStep::kAlign] = settings;
    settings["sweep"] = write_fields(recipe_.sweep);
    settings["select"] = write_fields(recipe_.select);
    settings_[ConversionStep::kHybrid] = settings;
    settings["distill"] = write_fields(recipe_.distill);
    settings_[ConversionStep::kDistill] = settings;
    // Pilots shorten stage 2.
    const bool has_pilots = parse_selection_rule(recipe_.select.rule) == SelectionRule::kPilot;
    settings_[ConversionStep::kSelect] =
        settings_[has_pilots ? ConversionStep::kDistill : ConversionStep::kHybrid];
    settings["finetune"] = write_fields(recipe_.finetune);
    if (corpus_.long_train != corpus_.train)
      settings["long_training_tokens"] = corpus_.long_train->tokens();
    settings_[ConversionStep::kFinetune] = settings;
    settings["attn_logits_scaling"] = recipe_.attn_logits_scaling;
    settings_[ConversionStep::kModel] = settings;
  }

  /// What else than the same command a user can do about a step of other settings.
  std::string way_out(ConversionStep step) const {
    std::string names;
    for (const std::string& name : made_from(options_.out, step))
      names += concat(names.empty() ? "" : ", ", name);
    return concat("make it anew with --from ", about_step(step).name, ", which removes ", names);
  }

  /// Steps that were finished or begun with other settings are found before any work.
  void check_made_before() const {
    for (const StepAbout& about : conversion_steps()) {
      if (is_again(about.step)) return;
      is_done(folder(about.step), settings_.at(about.step), way_out(about.step));
      check_stage_state(std::string(about.folder), settings_.at(about.step), options_);
    }
  }

  void remove_made_before() const {
    std::string names;
    for (const std::string& name : made_from(options_.out, *plan_.from))
      names += concat(names.empty() ? "" : ", ", name);
    note(concat("--from ", about_step(*plan_.from).name, ": removing ", names));
    remove_from(options_.out, *plan_.from);
  }

  void keep() const { keep_recipe(options_.out, "convert", write_fields(recipe_)); }

  fs::path folder(ConversionStep step) const { return options_.out / about_step(step).folder; }
  fs::path transfer_folder() const { return folder(ConversionStep::kTransfer); }
  fs::path align_folder() const { return folder(ConversionStep::kAlign); }
  fs::path select_folder() const { return folder(ConversionStep::kSelect); }
  fs::path hybrid_folder() const { return folder(ConversionStep::kHybrid); }
  fs::path distill_folder() const { return folder(ConversionStep::kDistill); }
  fs::path finetune_folder() const { return folder(ConversionStep::kFinetune); }
  fs::path model_folder() const { return folder(ConversionStep::kModel); }

  void note(const std::string& text) const {
    if (options_.observer) options_.observer->on_note(text);
  }

  /// What a stage freezes must be there, even if the stage comes hours later.
  void check_frozen_parts() const {
    const auto is_empty = [](const StageConfig& stage) { return stage.frozen.empty(); };
    if (is_empty(recipe_.align) && is_empty(recipe_.distill) && is_empty(recipe_.finetune)) return;
    const int64_t L = teacher_config_.num_hidden_layers;
    const auto with = [&](const std::vector<int64_t>& kept) {
      return CausalLm(hypenet_config(teacher_config_, mixer_types(L, kept, recipe_.mixer)), false);
    };
    std::vector<int64_t> all(static_cast<size_t>(L));
    std::iota(all.begin(), all.end(), int64_t{0});
    // Which layers of the hybrid are which is not known yet: it has names of both.
    const CausalLm twins = with({}), attention = with(all);
    const std::string place = recipe_.name + ": ";
    check_frozen(recipe_.align, {twins}, place + "align");
    check_frozen(recipe_.distill, {twins, attention}, place + "distill");
    check_frozen(recipe_.finetune, {twins, attention}, place + "finetune");
  }

  /// Whether the step is done; says so.
  bool done(ConversionStep step) const {
    check_stop(options_);
    if (!is_done(folder(step), settings_.at(step), way_out(step))) return false;
    note(concat(about_step(step).folder, ": done before"));
    return true;
  }

  void write_model(ConversionStep step, const ModelConfig& config, NamedTensors tensors,
                   const std::vector<fs::path>& parents) const {
    const std::string name(about_step(step).folder);
    write_checkpoint(folder(step), {.config = to_json(config),
                                    .tensors = std::move(tensors),
                                    .run = run_record(name, settings_.at(step), parents),
                                    .companions_from = teacher_.folder()});
  }

  /// A model to train: float32 parameters, and copies of them in the type it computes in.
  CausalLm load_trained(const fs::path& folder, const StageConfig& stage) const {
    CausalLm model = load_model(Checkpoint(folder), torch::kFloat32, options_.device);
    model->prepare(stage.compute_plan());
    return model;
  }

  struct Training {
    ConversionStep step;
    const StageConfig& config;
    SeedOf seed;
    std::vector<fs::path> parents = {};
    std::shared_ptr<const TokenDataset> text = nullptr;  // none: the corpus
  };

  /// Trains the model and writes the stage's folder; the saved state has then served its turn.
  void train_stage(const Training& stage, CausalLm& model, Objective& objective) const {
    const std::string name(about_step(stage.step).folder);
    run_stage({name, stage.config, model, settings_.at(stage.step),
               derived_seed(recipe_.seed, stage.seed)},
              stage.text ? stage.text : corpus_.train, tokenizer_, objective, options_);
    write_model(stage.step, model->config(), named_weights(*model, torch::kFloat32), stage.parents);
    remove_state(options_.out, name);
  }

  TransferOptions transfer_options() const {
    return {recipe_.gate_std, derived_seed(recipe_.seed, SeedOf::kGates)};
  }

  void transfer() {
    if (done(ConversionStep::kTransfer)) return;
    const auto config = hypenet_config(
        teacher_config_, mixer_types(teacher_config_.num_hidden_layers, {}, recipe_.mixer));
    write_model(ConversionStep::kTransfer, config,
                transfer_weights(teacher_, config, transfer_options()), {teacher_.folder()});
    note("1-transfer: every layer has a recurrent twin");
  }

  void align() {
    if (done(ConversionStep::kAlign)) return;
    CausalLm teacher = load_frozen(teacher_, recipe_.align, options_.device);
    CausalLm twins = load_trained(transfer_folder(), recipe_.align);
    AlignObjective objective(teacher, twins);
    train_stage({ConversionStep::kAlign,
                 recipe_.align,
                 SeedOf::kAlign,
                 {transfer_folder(), teacher_.folder()}},
                twins, objective);
  }

  /// Sweep and rule; or the layers that the recipe gives by hand.
  void select() {
    if (done(ConversionStep::kSelect)) {
      attention_layers_ = read_selection(select_folder());
      return;
    }
    attention_layers_ = select_attention({.recipe = recipe_,
                                          .teacher = teacher_,
                                          .aligned = align_folder(),
                                          .corpus = corpus_,
                                          .tokenizer = tokenizer_,
                                          .transfer = transfer_options(),
                                          .sweep_seed = derived_seed(recipe_.seed, SeedOf::kSweep),
                                          .pilot_seed = derived_seed(recipe_.seed, SeedOf::kPilot),
                                          .settings = settings_.at(ConversionStep::kSelect)},
                                         select_folder(), options_);
    note(concat("3-select: attention stays in layers ", Json(attention_layers_).dump()));
  }

  void build_hybrid() {
    if (done(ConversionStep::kHybrid)) return;
    const auto types = mixer_types(teacher_config_.num_hidden_layers, attention_layers_);
    write_model(
        ConversionStep::kHybrid, hypenet_config(teacher_config_, types),
        hybrid_weights(teacher_, Checkpoint(align_folder()), attention_layers_, transfer_options()),
        {teacher_.folder(), align_folder(), select_folder()});
    note("4-hybrid: the selected layers are the teacher's, the others twins");
  }

  /// Stages 2 and 3: the whole student learns from the teacher or from the text.
  void train_student(Training stage, const fs::path& from, StudentObjective minimised) const {
    CausalLm student = load_trained(from, stage.config), teacher{nullptr};
    stage.parents = {from};
    if (minimised != StudentObjective::kCrossEntropy) {
      teacher = load_frozen(teacher_, stage.config, options_.device);
      stage.parents.push_back(teacher_.folder());
    }
    train_stage(stage, student, *new_objective(minimised, teacher, student));
  }

  void distill() {
    const StageConfig& stage = recipe_.distill;
    if (done(ConversionStep::kDistill)) return;
    train_student({ConversionStep::kDistill, stage, SeedOf::kDistill, {}}, hybrid_folder(),
                  student_objective(stage, StudentObjective::kKl, "distill"));
  }

  void finetune() {
    const StageConfig& stage = recipe_.finetune;
    if (done(ConversionStep::kFinetune)) return;
    train_student({ConversionStep::kFinetune, stage, SeedOf::kFinetune, {}, corpus_.long_train},
                  distill_folder(),
                  student_objective(stage, StudentObjective::kCrossEntropy, "finetune"));
  }

  /// The finished model: logits scaling set, weights in the type they ship in.
  void finish() {
    if (done(ConversionStep::kModel)) return;
    CausalLm model = load_model(Checkpoint(finetune_folder()), torch::kFloat32, options_.device);
    ModelConfig config = model->config();
    config.attn_logits_scaling =
        parse_logits_scaling(recipe_.attn_logits_scaling, "attn_logits_scaling");
    config.torch_dtype = "bfloat16";
    write_model(ConversionStep::kModel, config, named_weights(*model, torch::kBFloat16),
                {finetune_folder()});
    note("model: written, in bfloat16");
  }

  Evaluation measure(const fs::path& folder, const char* name) const {
    CausalLm model = load_model(Checkpoint(folder), torch::kFloat32, options_.device);
    Engine engine(model);
    return evaluate(engine, tokenizer_, corpus_.held_out, recipe_.evaluate,
                    derived_seed(recipe_.seed, SeedOf::kEvaluate),
                    [&](int64_t part, int64_t parts) {
                      check_stop(options_);
                      if (options_.observer)
                        options_.observer->on_progress(concat("evaluate ", name), part, parts);
                    });
  }

  static bool is_result_of(const Json& settings, const Json& results, const fs::path& path) {
    if (!results.is_object() || !results.contains("settings")) return false;
    return first_deciding_difference(settings, completed_settings(results["settings"], path))
        .empty();
  }

  ConversionResult evaluate_and_report() {
    Json settings = settings_.at(ConversionStep::kModel);
    settings["evaluate"] = write_fields(recipe_.evaluate);
    const fs::path path = options_.out / "results.json";
    ConversionRecord record;
    if (fs::exists(path) && is_result_of(settings, read_json(path), path)) {
      read_fields(read_json(path), path.string(), record);
    } else {
      record = {settings, attention_layers_, measure(teacher_.folder(), "teacher"),
                measure(model_folder(), "HypeNet")};
      write_json(path, write_fields(record));
    }
    const fs::path report = options_.out / "report.html";
    write_report(report, conversion_report(recipe_, record, options_.out));
    return {model_folder(), report, conversion_table(record)};
  }

  const HaloRecipe& recipe_;
  const RunOptions& options_;
  const ConversionPlan plan_;
  Checkpoint teacher_;
  ModelConfig teacher_config_;
  Tokenizer tokenizer_;
  Corpus corpus_;
  std::map<ConversionStep, Json> settings_;
  std::vector<int64_t> attention_layers_;
};

}  // namespace

ConversionResult convert(const HaloRecipe& recipe, const RunOptions& options,
                         const ConversionPlan& plan) {
  HYPENET_CHECK(!plan.from || !plan.until || *plan.from <= *plan.until, "--until ",
                about_step(*plan.until).name, ": expected a step that is not before --from ",
                about_step(*plan.from).name);
  return Conversion(recipe, options, plan).run();
}

}  // namespace hypenet
