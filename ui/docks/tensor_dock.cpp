// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/docks/tensor_dock.h"

#include "ui/docks/dock_header.h"
#include "ui/docks/tensor_delegate.h"
#include "ui/models/tensor_tree_model.h"
#include "ui/session/linter.h"
#include "ui/session/session.h"
#include "ui/theme/icons.h"
#include "ui/theme/number_text.h"
#include "ui/theme/plural.h"
#include "ui/theme/theme.h"

#include <QHeaderView>
#include <QLabel>
#include <QLineEdit>
#include <QTreeView>
#include <QVBoxLayout>
#include <algorithm>

namespace nibble {

namespace {
constexpr int expandAllBelow = 300;
constexpr int narrow = 290;
}  // namespace

TensorDock::TensorDock(Session& session, QWidget* parent) : QDockWidget(tr("Tensors"), parent), m_session(session) {
  setObjectName("tensorDock");
  setAccessibleName(tr("Tensors"));
  setFeatures(DockWidgetMovable | DockWidgetClosable);
  setAllowedAreas(Qt::LeftDockWidgetArea | Qt::RightDockWidgetArea);
  m_header = new DockHeader(tr("Tensors"), this);
  setTitleBarWidget(m_header);

  m_filter = new QLineEdit;
  m_filter->setObjectName("tensorFilter");
  m_filter->setAccessibleName(tr("Filter tensors"));
  m_filter->setPlaceholderText(tr("Filter, text or /regex/"));
  m_filter->setClearButtonEnabled(true);
  m_filter->addAction(icon("filter", &Theme::text2), QLineEdit::LeadingPosition);
  m_filter->setFixedHeight(sizes::control);
  connect(m_filter, &QLineEdit::textChanged, this, &TensorDock::applyFilter);
  m_problem = new QLabel;
  m_problem->setObjectName("tensorFilterProblem");
  m_problem->setProperty("look", "bad");
  m_problem->setWordWrap(true);
  m_problem->hide();
  buildTree();

  auto* footer = new QFrame;
  footer->setProperty("look", "dockFooter");
  m_counts = new QLabel;
  m_counts->setObjectName("tensorCounts");
  m_counts->setProperty("look", "hint");
  m_marks = new QLabel;
  m_marks->setObjectName("tensorFindings");
  m_marks->setProperty("look", "hint");
  m_marks->setTextFormat(Qt::RichText);
  auto* footerLine = new QHBoxLayout(footer);
  footerLine->setContentsMargins(sizes::inside, 6, sizes::inside, 6);
  footerLine->addWidget(m_counts, 1);
  footerLine->addWidget(m_marks);

  auto* body = new QFrame;
  body->setProperty("look", "dockBody");
  body->setAutoFillBackground(true);
  body->setBackgroundRole(QPalette::Base);
  auto* column = new QVBoxLayout(body);
  column->setContentsMargins(0, sizes::gap, 0, 0);
  column->setSpacing(0);
  auto* filterLine = new QVBoxLayout;
  filterLine->setContentsMargins(sizes::gap, 0, sizes::gap, sizes::gap);
  filterLine->addWidget(m_filter);
  filterLine->addWidget(m_problem);
  column->addLayout(filterLine);
  column->addWidget(m_tree, 1);
  auto* rule = new QFrame;
  rule->setProperty("look", "rule");
  rule->setFixedHeight(1);
  column->addWidget(rule);
  column->addWidget(footer);
  setWidget(body);
  setMinimumWidth(sizes::tensorDockLeast);
  setMaximumWidth(sizes::tensorDockMost);
  connect(&session, &Session::changed, this, &TensorDock::follow);
  connect(&session.linter(), &Linter::changed, this, &TensorDock::showMarks);
  showFile();
}

void TensorDock::buildTree() {
  m_model = new TensorTreeModel(this);
  m_tree = new QTreeView;
  m_tree->setObjectName("tensorTree");
  m_tree->setAccessibleName(tr("Tensors by module"));
  m_tree->setModel(m_model);
  m_tree->setItemDelegate(new TensorDelegate(m_tree));
  m_tree->setUniformRowHeights(true);
  m_tree->setIndentation(9);
  m_tree->setFrameShape(QFrame::NoFrame);
  m_tree->setSelectionMode(QAbstractItemView::ExtendedSelection);
  m_tree->setEditTriggers(QAbstractItemView::NoEditTriggers);
  m_tree->setAllColumnsShowFocus(true);
  m_tree->setSortingEnabled(true);
  m_tree->setVerticalScrollMode(QAbstractItemView::ScrollPerPixel);
  auto* header = m_tree->header();
  header->setSortIndicator(-1, Qt::AscendingOrder);
  header->setSortIndicatorClearable(true);
  header->setStretchLastSection(false);
  header->setMinimumSectionSize(24);
  header->setFixedHeight(sizes::tableHeader);
  header->setSectionResizeMode(QHeaderView::Interactive);
  header->setSectionResizeMode(TensorTreeModel::Name, QHeaderView::Stretch);
  connect(m_tree->selectionModel(), &QItemSelectionModel::selectionChanged, this, &TensorDock::selectionChanged);
}

void TensorDock::focusFilter() {
  m_filter->setFocus(Qt::ShortcutFocusReason);
  m_filter->selectAll();
}

void TensorDock::focusTree() { m_tree->setFocus(Qt::OtherFocusReason); }

void TensorDock::follow(const SessionState& before) {
  const auto& now = m_session.state();
  if (now.file != before.file) showFile();
  else if (now.tensor != before.tensor || now.selection != before.selection) showSelection();
}

void TensorDock::showFile() {
  const auto& file = m_session.state().file;
  m_following = true;
  m_model->setTree(file ? file->tree : nullptr);
  m_following = false;
  const auto count = file ? static_cast<int>(file->tree->items().size()) : 0;
  m_header->setLine(file ? tr("%1 in %2").arg(QLocale().toString(count), QString::fromStdString(file->path.filename().string())) : QString());
  showMarks();
  showCounts();
  expandSome();
  showSelection();
}

void TensorDock::showMarks() {
  const auto& file = m_session.state().file;
  QHash<QString, TensorTreeModel::Mark> marks;
  for (const auto& [name, findings] : m_session.linter().findings()) {
    auto& mark = marks[QString::fromStdString(name)];
    for (const auto& finding : findings) {
      mark.mark = std::max(mark.mark, finding.severity == Severity::Warning ? TreeMark::Warning : TreeMark::Note);
      mark.text += (mark.text.isEmpty() ? "" : "\n") + QString::fromStdString(finding.what);
    }
  }
  m_model->setMarks(std::move(marks));
  m_tree->viewport()->update();
  int warnings = 0, notes = 0;
  if (file)
    for (const auto& item : file->tree->items()) {
      const auto mark = m_model->markOf(item).mark;
      warnings += mark == TreeMark::Warning;
      notes += mark == TreeMark::Note;
    }
  QStringList parts;
  if (warnings > 0) parts << QString("<span style='color:%1'>%2</span>").arg(themeOf(this).warn.name(), counted(warnings, tr("%1 warning"), tr("%1 warnings")));
  if (notes > 0) parts << counted(notes, tr("%1 note"), tr("%1 notes"));
  m_marks->setText(parts.join("&nbsp;&nbsp; "));
}

void TensorDock::expandSome() {
  if (m_model->shownTensors() <= expandAllBelow) {
    m_tree->expandAll();
    return;
  }
  for (int row = 0; row < std::min(m_model->rowCount(), 8); ++row) m_tree->expand(m_model->index(row, 0));
}

void TensorDock::showSelection() {
  const auto& state = m_session.state();
  QItemSelection wanted;
  for (const auto& tensor : state.selection)
    if (const auto index = m_model->indexOf(tensor); index.isValid()) wanted.select(index, index);
  m_following = true;
  m_tree->selectionModel()->select(wanted, QItemSelectionModel::ClearAndSelect | QItemSelectionModel::Rows);
  if (const auto current = m_model->indexOf(state.tensor); current.isValid()) {
    m_tree->selectionModel()->setCurrentIndex(current, QItemSelectionModel::NoUpdate);
    m_tree->scrollTo(current);
  }
  m_following = false;
}

void TensorDock::applyFilter(const QString& filter) {
  m_following = true;
  const QString problem = m_model->setFilter(filter);
  m_following = false;
  m_problem->setText(problem);
  m_problem->setVisible(!problem.isEmpty());
  m_filter->setProperty("invalid", !problem.isEmpty());
  restyle(m_filter);
  if (!problem.isEmpty()) return;
  expandSome();
  showSelection();
  showCounts();
}

void TensorDock::showCounts() {
  const auto& file = m_session.state().file;
  if (!file) return m_counts->clear();
  const QString all = counted(static_cast<qint64>(file->tree->items().size()), tr("%1 tensor"), tr("%1 tensors"));
  m_counts->setText(m_filter->text().isEmpty() ? tr("%1, %2").arg(all, formatSize(file->sizeBytes))
                                               : tr("%1 of %2").arg(QLocale().toString(m_model->shownTensors()), all));
}

void TensorDock::selectionChanged() {
  if (m_following) return;
  const auto& file = m_session.state().file;
  if (!file) return;
  std::vector<std::string> selection;
  for (const auto& index : m_tree->selectionModel()->selectedRows())
    if (const auto tensor = m_model->tensorAt(index); !tensor.isEmpty()) selection.push_back(tensor.toStdString());
  const std::string current = m_model->tensorAt(m_tree->currentIndex()).toStdString();
  if (selection.empty()) return;
  const std::string chosen = std::find(selection.begin(), selection.end(), current) != selection.end() ? current : selection.front();
  m_session.edit(tr("Select %1").arg(QString::fromStdString(chosen)), "tensor", [&](SessionState& state) {
    if (state.tensor != chosen) {
      state.cell.reset();
      state.whatIf.reset();
    }
    state.tensor = chosen;
    state.selection = selection;
  });
}

void TensorDock::resizeEvent(QResizeEvent* event) {
  QDockWidget::resizeEvent(event);
  fitColumns();
}

void TensorDock::changeEvent(QEvent* event) {
  QDockWidget::changeEvent(event);
  if (event->type() == QEvent::PaletteChange && m_marks != nullptr) showMarks();  // its text holds a colour
}

void TensorDock::fitColumns() {
  const bool hide = width() < narrow;
  m_tree->setColumnHidden(TensorTreeModel::Type, hide);
  m_tree->setColumnHidden(TensorTreeModel::ShapeColumn, hide);
  const QFontMetrics text(fonts::hint());
  m_tree->setColumnWidth(TensorTreeModel::Type, text.horizontalAdvance("Type") + 18);
  m_tree->setColumnWidth(TensorTreeModel::ShapeColumn, text.horizontalAdvance(QString::fromUtf8("1536×384")) + 8);
  m_tree->setColumnWidth(TensorTreeModel::Size, text.horizontalAdvance("288.0 KiB") + 22);
}

}  // namespace nibble
