// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/forms/file_dialogs.h"

#include <QFileDialog>

namespace nibble {

namespace {

void show(QFileDialog* dialog, PathTaken taken) {
  dialog->setAttribute(Qt::WA_DeleteOnClose);
  QObject::connect(dialog, &QFileDialog::fileSelected, dialog, [taken = std::move(taken)](const QString& path) { taken(path); });
  dialog->open();
}

}  // namespace

QString weightFilter() {
  return QObject::tr("Weights (*.safetensors *.gguf *.json *.npy *.npz);;All files (*)");
}

void askOpenFile(QWidget* parent, const QString& title, const QString& filter, PathTaken taken) {
  auto* dialog = new QFileDialog(parent, title, QString(), filter);
  dialog->setObjectName("openFileDialog");
  dialog->setFileMode(QFileDialog::ExistingFile);
  show(dialog, std::move(taken));
}

void askFolder(QWidget* parent, const QString& title, PathTaken taken) {
  auto* dialog = new QFileDialog(parent, title);
  dialog->setObjectName("folderDialog");
  dialog->setFileMode(QFileDialog::Directory);
  dialog->setOption(QFileDialog::ShowDirsOnly);
  show(dialog, std::move(taken));
}

void askSaveFile(QWidget* parent, const QString& title, const QString& suggested, const QString& filter, PathTaken taken) {
  auto* dialog = new QFileDialog(parent, title, QString(), filter);
  dialog->setObjectName("saveFileDialog");
  dialog->setAcceptMode(QFileDialog::AcceptSave);
  dialog->setFileMode(QFileDialog::AnyFile);
  dialog->selectFile(suggested);
  show(dialog, std::move(taken));
}

}  // namespace nibble
