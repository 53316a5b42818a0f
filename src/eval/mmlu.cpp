// The subjects and their groups as the harness has them.
#include "eval/mmlu.h"

#include <array>

#include "base/error.h"
#include "eval/python/python_text.h"

namespace hypenet {
namespace {

struct Subject {
  const char* name;
  const char* group;
};

constexpr std::array<Subject, 57> kSubjects = {
    {{"abstract_algebra", "stem"},
     {"anatomy", "stem"},
     {"astronomy", "stem"},
     {"business_ethics", "other"},
     {"clinical_knowledge", "other"},
     {"college_biology", "stem"},
     {"college_chemistry", "stem"},
     {"college_computer_science", "stem"},
     {"college_mathematics", "stem"},
     {"college_medicine", "other"},
     {"college_physics", "stem"},
     {"computer_security", "stem"},
     {"conceptual_physics", "stem"},
     {"econometrics", "social_sciences"},
     {"electrical_engineering", "stem"},
     {"elementary_mathematics", "stem"},
     {"formal_logic", "humanities"},
     {"global_facts", "other"},
     {"high_school_biology", "stem"},
     {"high_school_chemistry", "stem"},
     {"high_school_computer_science", "stem"},
     {"high_school_european_history", "humanities"},
     {"high_school_geography", "social_sciences"},
     {"high_school_government_and_politics", "social_sciences"},
     {"high_school_macroeconomics", "social_sciences"},
     {"high_school_mathematics", "stem"},
     {"high_school_microeconomics", "social_sciences"},
     {"high_school_physics", "stem"},
     {"high_school_psychology", "social_sciences"},
     {"high_school_statistics", "stem"},
     {"high_school_us_history", "humanities"},
     {"high_school_world_history", "humanities"},
     {"human_aging", "other"},
     {"human_sexuality", "social_sciences"},
     {"international_law", "humanities"},
     {"jurisprudence", "humanities"},
     {"logical_fallacies", "humanities"},
     {"machine_learning", "stem"},
     {"management", "other"},
     {"marketing", "other"},
     {"medical_genetics", "other"},
     {"miscellaneous", "other"},
     {"moral_disputes", "humanities"},
     {"moral_scenarios", "humanities"},
     {"nutrition", "other"},
     {"philosophy", "humanities"},
     {"prehistory", "humanities"},
     {"professional_accounting", "other"},
     {"professional_law", "humanities"},
     {"professional_medicine", "other"},
     {"professional_psychology", "social_sciences"},
     {"public_relations", "social_sciences"},
     {"security_studies", "social_sciences"},
     {"sociology", "social_sciences"},
     {"us_foreign_policy", "social_sciences"},
     {"virology", "other"},
     {"world_religions", "humanities"}}};

ChoiceDocument read_mmlu(const Json& record) {
  constexpr std::array<const char*, 4> kLetters = {"A", "B", "C", "D"};
  const std::vector<std::string> answers = texts_field(record, "choices");
  HYPENET_CHECK(answers.size() == kLetters.size(), "choices: expected ", kLetters.size(),
                ", found ", answers.size());
  ChoiceDocument document;
  document.question = strip(text_field(record, "question"));
  for (size_t i = 0; i < kLetters.size(); ++i) {
    document.question += concat("\n", kLetters[i], ". ", answers[i]);
    document.choices.emplace_back(kLetters[i]);
  }
  document.question += "\nAnswer:";
  document.gold = integer_field(record, "answer");
  return document;
}

DataFiles mmlu_files(const std::string& subject, const std::string& split) {
  return {.dataset = "cais/mmlu", .hub = configuration_paths(subject, split)};
}

ChoiceTask mmlu(const Subject& subject) {
  const std::string words = replace_all(subject.name, "_", " ");
  return {.name = {concat("mmlu_", subject.name), concat("MMLU: ", words)},
          .scoring = &Scoring::kChoiceOfContext,
          .test = mmlu_files(subject.name, "test"),
          .examples = mmlu_files(subject.name, "dev"),
          .read = read_mmlu,
          .draw = ExampleDraw::kFirst,
          .shots = 5,
          .description = concat("The following are multiple choice questions (with answers) about ",
                                words, ".\n\n")};
}

}  // namespace

std::vector<ChoiceTask> mmlu_tasks() {
  std::vector<ChoiceTask> tasks;
  tasks.reserve(kSubjects.size());
  for (const Subject& subject : kSubjects) tasks.push_back(mmlu(subject));
  return tasks;
}

std::vector<std::string> mmlu_group(std::string_view name) {
  std::vector<std::string> tasks;
  for (const Subject& subject : kSubjects) {
    const bool is_in = name == "mmlu" || name == concat("mmlu_", subject.group);
    if (is_in) tasks.push_back(concat("mmlu_", subject.name));
  }
  return tasks;
}

std::vector<TaskName> mmlu_group_names() {
  return {{"mmlu", "MMLU: all 57 subjects, mean over their questions"},
          {"mmlu_stem", "MMLU: natural sciences, mathematics, engineering"},
          {"mmlu_humanities", "MMLU: history, law, philosophy"},
          {"mmlu_social_sciences", "MMLU: economics, politics, psychology"},
          {"mmlu_other", "MMLU: medicine, business and the rest"}};
}

}  // namespace hypenet
