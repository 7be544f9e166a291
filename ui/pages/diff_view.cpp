// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/pages/diff_view.h"

#include "ui/forms/file_dialogs.h"
#include "ui/forms/table_delegate.h"
#include "ui/models/diff_model.h"
#include "ui/session/differ.h"
#include "ui/session/session.h"
#include "ui/session/session_text.h"
#include "ui/theme/icons.h"
#include "ui/theme/number_text.h"
#include "ui/theme/plural.h"
#include "ui/theme/theme.h"

#include <QClipboard>
#include <QDir>
#include <QGridLayout>
#include <QGuiApplication>
#include <QHeaderView>
#include <QKeyEvent>
#include <QLabel>
#include <QLineEdit>
#include <QMenu>
#include <QPushButton>
#include <QStackedWidget>
#include <QTableView>
#include <QToolButton>
#include <QVBoxLayout>

namespace nibble {
namespace {

constexpr int narrowBelow = 900;

QString string(const std::string& text) { return QString::fromStdString(text); }

QLabel* sideLabel(const QString& text) {
  auto* label = new QLabel(text);
  label->setProperty("look", "label");
  label->setFixedWidth(72);
  return label;
}

QToolButton* browse(const QString& objectName, const QString& iconName, const QString& tip) {
  auto* button = new QToolButton;
  button->setObjectName(objectName);
  button->setIcon(icon(iconName));
  button->setToolTip(tip);
  button->setAccessibleName(tip);
  button->setFixedSize(sizes::control, sizes::control);
  return button;
}

}  // namespace

DiffView::DiffView(Session& session, QWidget* parent) : QWidget(parent), m_session(session), m_model(new DiffModel(this)) {
  setObjectName("diffView");
  setAccessibleName(tr("Two files compared"));
  auto* column = new QVBoxLayout(this);
  column->setContentsMargins(0, 0, 0, 0);
  column->setSpacing(sizes::gap);
  column->addWidget(buildFiles());
  column->addWidget(buildTable(), 1);
  connect(&session, &Session::changed, this, &DiffView::follow);
  connect(&session.differ(), &Differ::changed, this, &DiffView::refresh);
  showFiles();
  refresh();
}

QWidget* DiffView::buildFiles() {
  auto* panel = new QFrame;
  panel->setObjectName("diffFiles");
  panel->setProperty("look", "panel");
  auto* grid = new QGridLayout(panel);
  grid->setContentsMargins(12, sizes::inside, 12, sizes::inside);
  grid->setHorizontalSpacing(sizes::gap);
  grid->setVerticalSpacing(6);
  m_a = new QLabel;
  m_a->setObjectName("diffA");
  m_a->setFont(fonts::fixed());
  m_a->setProperty("look", "mono");
  grid->addWidget(sideLabel(tr("A, open")), 0, 0);
  grid->addWidget(m_a, 0, 1, 1, 3);
  m_other = addFile(grid, 1, "diffOther", "diff.other", tr("B"));
  m_reference = addFile(grid, 2, "diffReference", "diff.reference", tr("Reference"));
  m_other->setPlaceholderText(tr("file or folder that is compared with A"));
  m_reference->setPlaceholderText(tr("none; the weights that both were made from"));
  m_note = new QLabel;
  m_note->setObjectName("diffNote");
  m_note->setProperty("look", "hint");
  m_note->setWordWrap(true);
  grid->addWidget(m_note, 3, 1, 1, 3);
  return panel;
}

QLineEdit* DiffView::addFile(QGridLayout* grid, int line, const QString& name, const QString& key, const QString& title) {
  auto* edit = new QLineEdit;
  edit->setObjectName(name);
  edit->setAccessibleName(title);
  edit->setFont(fonts::fixed());
  edit->setProperty("look", "code");
  edit->setClearButtonEnabled(true);
  edit->setMinimumHeight(sizes::control);
  auto* label = sideLabel(title);
  label->setBuddy(edit);
  auto* file = browse(name + "File", "open-file", tr("%1: choose a file").arg(title));
  auto* folder = browse(name + "Folder", "open-folder", tr("%1: choose a folder").arg(title));
  connect(edit, &QLineEdit::editingFinished, this, [this, edit, key] { setFile(key, edit->text().trimmed()); });
  connect(edit, &QLineEdit::textChanged, this, [this, key](const QString& text) {
    if (text.isEmpty()) setFile(key, {});  // the clear button
  });
  connect(file, &QToolButton::clicked, this, [this, key, title] {
    askOpenFile(this, tr("%1 to compare").arg(title), weightFilter(), [this, key](const QString& path) { setFile(key, path); });
  });
  connect(folder, &QToolButton::clicked, this, [this, key, title] {
    askFolder(this, tr("%1 to compare").arg(title), [this, key](const QString& path) { setFile(key, path); });
  });
  grid->addWidget(label, line, 0);
  grid->addWidget(edit, line, 1);
  grid->addWidget(file, line, 2);
  grid->addWidget(folder, line, 3);
  return edit;
}

QWidget* DiffView::buildTable() {
  auto* panel = new QFrame;
  panel->setObjectName("diffPanel");
  panel->setProperty("look", "panel");
  auto* column = new QVBoxLayout(panel);
  column->setContentsMargins(1, 1, 1, 1);
  m_table = new QTableView;
  prepareTable(m_table, "diffTable", tr("Tensors of both files"));
  m_table->setModel(m_model);
  m_table->setSortingEnabled(true);
  m_table->sortByColumn(DiffModel::Mse, Qt::DescendingOrder);
  m_table->setContextMenuPolicy(Qt::CustomContextMenu);
  m_table->installEventFilter(this);
  auto* header = m_table->horizontalHeader();
  header->setSectionResizeMode(QHeaderView::Interactive);
  header->setSectionResizeMode(DiffModel::Name, QHeaderView::Stretch);
  m_table->setTextElideMode(Qt::ElideMiddle);
  const QFontMetrics head(fonts::hint()), text(fonts::bold());
  const auto width = [&](int section, const char* widest) {
    const QString title = m_model->headerData(section, Qt::Horizontal, Qt::DisplayRole).toString();
    m_table->setColumnWidth(section, std::max(head.horizontalAdvance(title) + 22, text.horizontalAdvance(QLatin1String(widest)) + 19));
  };
  for (const int section : {DiffModel::BpwA, DiffModel::BpwB}) width(section, "16.00");
  width(DiffModel::Mse, "1.23 10-05 MSE");
  for (const int section : {DiffModel::Sqnr, DiffModel::RelativeF, DiffModel::ReferenceA, DiffModel::ReferenceB}) width(section, "166.55");
  width(DiffModel::MaxError, "10.4504");
  connect(m_table, &QTableView::doubleClicked, this, &DiffView::openTensor);
  connect(m_table, &QWidget::customContextMenuRequested, this, &DiffView::openRowMenu);
  auto* empty = new QWidget;
  auto* line = new QVBoxLayout(empty);
  m_empty = new QLabel;
  m_empty->setObjectName("diffEmpty");
  m_empty->setProperty("look", "label");
  m_empty->setAlignment(Qt::AlignCenter);
  m_empty->setWordWrap(true);
  auto* choose = new QPushButton(icon("open-file"), tr("Choose B..."));
  choose->setObjectName("diffChoose");
  choose->setMinimumHeight(sizes::control);
  connect(choose, &QPushButton::clicked, this, &DiffView::askOther);
  line->addStretch(1);
  line->addWidget(m_empty);
  line->addWidget(choose, 0, Qt::AlignHCenter);
  line->addStretch(1);
  m_stack = new QStackedWidget;
  m_stack->addWidget(m_table);
  m_stack->addWidget(empty);
  column->addWidget(m_stack);
  return panel;
}

void DiffView::askOther() {
  askOpenFile(this, tr("B to compare"), weightFilter(), [this](const QString& path) { setFile("diff.other", path); });
}

void DiffView::setFile(const QString& key, const QString& path) {
  const std::string option = key.toStdString();
  const std::string wanted = path.isEmpty() ? std::string() : QDir(path).absolutePath().toStdString();
  if (m_session.state().viewOption(option, "") == wanted) {
    if (option == "diff.other") m_session.differ().again();
    return;
  }
  m_session.edit(tr("Compare with %1").arg(path.section('/', -1)), {}, [&](SessionState& state) {
    if (wanted.empty()) state.view.erase(option);
    else state.view[option] = wanted;
  });
}

void DiffView::follow(const SessionState& before) {
  const auto& now = m_session.state();
  if (now.view != before.view || now.file != before.file) showFiles();
}

void DiffView::showFiles() {
  const auto& state = m_session.state();
  m_a->setText(state.file ? string(state.file->path.string()) : tr("nothing is open"));
  m_a->setToolTip(m_a->text());
  for (const auto& [edit, key] : {std::pair(m_other, "diff.other"), std::pair(m_reference, "diff.reference")}) {
    const QString path = string(state.viewOption(key, ""));
    if (edit->text() == path) continue;
    const QSignalBlocker block(edit);
    edit->setText(path);
  }
  showState();
}

void DiffView::refresh() {
  const auto* answer = m_session.differ().answer();
  m_model->setRows(answer != nullptr ? answer->rows : std::vector<DiffedTensor>());
  showState();
}

void DiffView::showState() {
  const auto* answer = m_session.differ().answer();
  const bool asked = !m_session.state().viewOption("diff.other", "").empty();
  const bool known = answer != nullptr && answer->problem.empty();
  m_stack->setCurrentIndex(known ? 0 : 1);
  m_empty->setText(answer != nullptr ? string(answer->problem)
                   : asked           ? tr("Comparing...")
                                     : tr("Name a second file above: its tensors are ranked by how far they are from those of the open one."));
  m_empty->setProperty("look", answer != nullptr ? "bad" : "label");
  restyle(m_empty);
  QStringList notes;
  if (known) {
    notes << counted(static_cast<qint64>(answer->rows.size()), tr("%1 row, the farthest apart first"), tr("%1 rows, the farthest apart first"));
    for (const auto& warning : answer->warnings) notes << string(warning);
  }
  constexpr qsizetype shown = 3;
  m_note->setToolTip(notes.join('\n'));
  if (notes.size() > shown + 1) notes = notes.mid(0, shown) << tr("and %1 more notes").arg(notes.size() - shown);
  m_note->setText(notes.join(";  "));
  m_note->setVisible(!notes.isEmpty());
  hideColumns();
}

void DiffView::hideColumns() {
  const bool narrow = width() < narrowBelow, reference = m_model->hasReference();
  for (const int column : {DiffModel::ReferenceA, DiffModel::ReferenceB}) m_table->setColumnHidden(column, !reference);
  const char* widest = narrow && reference ? "gptq 4 bit g.." : "gptq 4 bit group 128";
  if (m_storedWidest != QLatin1String(widest)) {  // else as wide as a person has drawn them
    for (const int column : {DiffModel::StoredA, DiffModel::StoredB}) m_table->setColumnWidth(column, QFontMetrics(fonts::bold()).horizontalAdvance(QLatin1String(widest)) + 19);
    m_storedWidest = QLatin1String(widest);
  }
  for (const int column : {DiffModel::BpwA, DiffModel::BpwB, DiffModel::RelativeF}) m_table->setColumnHidden(column, narrow);
  m_table->setColumnHidden(DiffModel::MaxError, narrow && reference);
}

void DiffView::openTensor(const QModelIndex& index) {
  if (!index.isValid()) return;
  const std::string name = m_model->at(index.row()).a.name;
  const std::string reading = m_model->at(index.row()).a.reading;
  m_session.edit(tr("Open %1").arg(string(name)), {}, [&](SessionState& state) {
    state.tensor = name;
    state.selection = {name};
    state.cell.reset();
    state.whatIf.reset();
    state.asStored = true;
    if (!reading.empty()) state.view["stored.reading"] = reading;
    state.page = Page::Explore;
  });
}

void DiffView::openInB(const QModelIndex& index) {
  const std::string name = m_model->at(index.row()).b.name;
  m_session.openWith(string(m_session.state().viewOption("diff.other", "")), [name](SessionState& state) {
    state.tensor = name;
    state.selection = {name};
    state.page = Page::Explore;
  });
}

void DiffView::openRowMenu(const QPoint& place) {
  const auto index = m_table->indexAt(place);
  if (!index.isValid()) return;
  const QPersistentModelIndex kept = index;
  auto* menu = new QMenu(this);
  menu->setObjectName("diffMenu");
  menu->setAttribute(Qt::WA_DeleteOnClose);
  menu->addAction(tr("Open on Explore"), this, [this, kept] { openTensor(kept); });
  menu->addAction(tr("Open B instead, at this tensor"), this, [this, kept] {
    if (kept.isValid()) openInB(kept);
  });
  menu->addSeparator();
  menu->addAction(tr("Copy its name"), this, [this, kept] {
    if (kept.isValid()) QGuiApplication::clipboard()->setText(string(m_model->at(kept.row()).a.name));
  });
  menu->addAction(tr("Copy as command line"), this, [this] { QGuiApplication::clipboard()->setText(compareCommand(m_session.state())); });
  menu->popup(m_table->viewport()->mapToGlobal(place));
}

bool DiffView::eventFilter(QObject* watched, QEvent* event) {
  if (event->type() == QEvent::KeyPress) {
    const int key = static_cast<QKeyEvent*>(event)->key();
    if ((key == Qt::Key_Return || key == Qt::Key_Enter) && m_table->currentIndex().isValid()) {
      openTensor(m_table->currentIndex());
      return true;
    }
  }
  return QWidget::eventFilter(watched, event);
}

void DiffView::resizeEvent(QResizeEvent* event) {
  QWidget::resizeEvent(event);
  hideColumns();
}

}  // namespace nibble
