from .structures import DICE_IS, StructureScores, dice_per_frame, hd95_px, patient_mean

__all__ = ["DICE_IS", "StructureScores", "dice_per_frame", "hd95_px", "patient_mean"]
