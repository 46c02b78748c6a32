from .structures import DICE_IS, StructureScores, dice_per_frame, hd95_px, mean_interval, patient_means

__all__ = ["DICE_IS", "StructureScores", "dice_per_frame", "hd95_px", "mean_interval", "patient_means"]
